-- A database of this program at commit 3ddb06a (tables of version 5), written in New York: the
-- study `old` by its workers, whose trials have local times; the study `theirs` by Optuna 5.0
-- itself, in UTC. In a checkout of that commit, with tests/ on the path of the first two lines:
--
--   python -c "from bed import *; open('words.txt', 'w').write('\n'.join(some_words(60)))"
--   python -c "from bed import *; print(toml(tiny(study={'name': 'old', 'corpus': 'words.txt'},
--       budget={'trials': 4, 'examples': 1000, 'evaluations': 3})))" > old.toml
--   export TZ=America/New_York
--   python -m search run old.toml --workers 1 --data-dir runs
--   python -c "import optuna; optuna.create_study(study_name='theirs',
--       storage='sqlite:///runs/studies.db').optimize(lambda t: t.suggest_float('x', 0, 1), 1)"
--   python -c "import sqlite3; print(*sqlite3.connect('runs/studies.db').iterdump(), sep='\n')"
--
-- The rows of its pictures, the directory of its corpus and the host's name were taken out.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE makemore_attempts (
	id INTEGER NOT NULL, 
	study_uid VARCHAR(32) NOT NULL, 
	ordinal INTEGER NOT NULL, 
	worker_id VARCHAR(32) NOT NULL, 
	trial INTEGER, 
	retry_of INTEGER, 
	training_seed BIGINT NOT NULL, 
	threads INTEGER NOT NULL, 
	device VARCHAR(32) NOT NULL, 
	versions JSON NOT NULL, 
	config JSON, 
	started_at FLOAT NOT NULL, 
	ended_at FLOAT, 
	outcome VARCHAR(16), 
	reason TEXT, 
	dev_loss FLOAT, 
	dev_loss_unseen FLOAT, 
	final_dev_loss FLOAT, 
	train_loss FLOAT, 
	seconds FLOAT, 
	examples BIGINT, 
	parameters INTEGER, 
	curve JSON, 
	audited BOOLEAN, 
	checkpoint_sha256 VARCHAR(64), 
	PRIMARY KEY (id), 
	FOREIGN KEY(study_uid) REFERENCES makemore_studies (uid) ON DELETE CASCADE
);
INSERT INTO "makemore_attempts" VALUES(1,'c86a1c304e1da612c3acc51467a37f8e',0,'e1d239c630a929e69a7232839a4d626e',0,NULL,1445856600,1,'cpu','{"python": "3.11.7", "torch": "2.13.0+cpu", "numba": "0.68.1", "optuna": "5.0.0", "code": "2177bb5badf3c0ca8044c08598b40213584c9d0f13239f9a96add9d3430d8ffb", "machine": "x86_64 rocketlake AVX512"}','{"embedding_size": 5, "hidden_width": 16, "block_size": 3, "batch_size": 32, "learning_rate": 0.054491275986265825, "schedule": "cosine", "step_at": 0.5, "step_factor": 0.1, "warmup": 0.02, "weight_decay": 0.0, "decay_growth": 1.0, "dropout": 0.0, "smoothing": 0.0, "optimizer": "adamw", "targets": "expected", "initialisation": "scaled", "direct": false, "examples": 1000, "evaluations": 3, "patience": null}',1.79568748297998452187e+09,1.79568748303100013735e+09,'complete',NULL,2.49830079730600118637e+00,2.49830079730600118637e+00,2.63341567758470773696e+00,2.16934361546597598291e+00,2.82882700003028730861e-03,992,498,'[[320, 2.498300797306001, 0.0013914019999674565, 2.252111279287419], [672, 2.622630223631859, 0.0023038010000391296, 2.118940470822219], [992, 2.6334156775847077, 0.0028288270000302873, 2.0513922004453433]]',0,'99e868a592f58440b08605dc2f09548609bfe3dcdbb26017c99dcf89960f7efc');
INSERT INTO "makemore_attempts" VALUES(2,'c86a1c304e1da612c3acc51467a37f8e',1,'e1d239c630a929e69a7232839a4d626e',1,NULL,736280887,1,'cpu','{"python": "3.11.7", "torch": "2.13.0+cpu", "numba": "0.68.1", "optuna": "5.0.0", "code": "2177bb5badf3c0ca8044c08598b40213584c9d0f13239f9a96add9d3430d8ffb", "machine": "x86_64 rocketlake AVX512"}','{"embedding_size": 6, "hidden_width": 32, "block_size": 2, "batch_size": 64, "learning_rate": 0.01986284331723456, "schedule": "cosine", "step_at": 0.5, "step_factor": 0.1, "warmup": 0.02, "weight_decay": 0.0, "decay_growth": 1.0, "dropout": 0.0, "smoothing": 0.0, "optimizer": "sgd", "targets": "expected", "initialisation": "scaled", "direct": false, "examples": 1000, "evaluations": 3, "patience": null}',1.79568748303699493411e+09,1.79568748305300760273e+09,'complete',NULL,2.41676713398192077875e+00,2.41676713398192077875e+00,2.41676713398192077875e+00,2.38962104528191243701e+00,2.69201500020699313608e-03,1024,845,'[[320, 2.4211915601044893, 0.0016013430000612061, 2.4056141093013137], [704, 2.417668159585446, 0.0022568250001313572, 2.3978057065783296], [1024, 2.416767133981921, 0.002692015000206993, 2.384770369764874]]',0,'b3aedcef86863584a6ec2c446aa9170b15e372589bf8712647a525c005a4763c');
INSERT INTO "makemore_attempts" VALUES(3,'c86a1c304e1da612c3acc51467a37f8e',2,'e1d239c630a929e69a7232839a4d626e',2,NULL,179507983,1,'cpu','{"python": "3.11.7", "torch": "2.13.0+cpu", "numba": "0.68.1", "optuna": "5.0.0", "code": "2177bb5badf3c0ca8044c08598b40213584c9d0f13239f9a96add9d3430d8ffb", "machine": "x86_64 rocketlake AVX512"}','{"embedding_size": 5, "hidden_width": 32, "block_size": 3, "batch_size": 32, "learning_rate": 0.024191207815492822, "schedule": "cosine", "step_at": 0.5, "step_factor": 0.1, "warmup": 0.02, "weight_decay": 0.0, "decay_growth": 1.0, "dropout": 0.0, "smoothing": 0.0, "optimizer": "adamw", "targets": "expected", "initialisation": "scaled", "direct": false, "examples": 1000, "evaluations": 3, "patience": null}',1.79568748305699086185e+09,1.79568748306801462171e+09,'pruned','pruner',2.46630159486085176467e+00,2.46630159486085176467e+00,NULL,NULL,9.33045000010679359547e-04,320,NULL,'[[320, 2.4663015948608518, 0.0009330450000106794, 2.2720866351442965]]',0,NULL);
INSERT INTO "makemore_attempts" VALUES(4,'c86a1c304e1da612c3acc51467a37f8e',3,'e1d239c630a929e69a7232839a4d626e',3,NULL,345830220,1,'cpu','{"python": "3.11.7", "torch": "2.13.0+cpu", "numba": "0.68.1", "optuna": "5.0.0", "code": "2177bb5badf3c0ca8044c08598b40213584c9d0f13239f9a96add9d3430d8ffb", "machine": "x86_64 rocketlake AVX512"}','{"embedding_size": 4, "hidden_width": 32, "block_size": 2, "batch_size": 64, "learning_rate": 0.04489566021130997, "schedule": "cosine", "step_at": 0.5, "step_factor": 0.1, "warmup": 0.02, "weight_decay": 0.0, "decay_growth": 1.0, "dropout": 0.0, "smoothing": 0.0, "optimizer": "sgd", "targets": "expected", "initialisation": "scaled", "direct": false, "examples": 1000, "evaluations": 3, "patience": null}',1.79568748307099199297e+09,1.795687483083987236e+09,'complete',NULL,2.39484703436028212308e+00,2.39484703436028212308e+00,2.39484703436028212308e+00,2.383691763802570307e+00,1.91625100012515758862e-03,1024,695,'[[320, 2.400174089241773, 0.0009432880000304067, 2.4092889286572245], [704, 2.3961011191131547, 0.0015571240001008846, 2.3962386604577737], [1024, 2.394847034360282, 0.0019162510001251576, 2.387920614991708]]',0,'e754907b8720027936d67cc25de620f5920fccf204e8af50fd75cca0dc7b1cc6');
CREATE TABLE makemore_confirmations (
	study_uid VARCHAR(32) NOT NULL, 
	trial INTEGER NOT NULL, 
	seed_index INTEGER NOT NULL, 
	seed BIGINT NOT NULL, 
	dev_loss FLOAT NOT NULL, 
	dev_loss_unseen FLOAT, 
	seconds FLOAT NOT NULL, 
	checkpoint_sha256 VARCHAR(64) NOT NULL, 
	PRIMARY KEY (study_uid, trial, seed_index), 
	FOREIGN KEY(study_uid) REFERENCES makemore_studies (uid) ON DELETE CASCADE
);
CREATE TABLE makemore_corpora (
	fingerprint VARCHAR(64) NOT NULL, 
	words TEXT NOT NULL, 
	PRIMARY KEY (fingerprint)
);
INSERT INTO "makemore_corpora" VALUES('e8f54c9cbe6d3d33abf9393d7c1ff62e43996301ce858c41cf6baa446e3258b8','aeilmnorst
lsatmtst
ntni
artnroea
so
nlloi
msisna
srroosl
lsenits
atstm
nrns
irniar
niee
tiaoee
ss
nlrisssn
nmott
llenleai
irlseeo
so
oaeese
lt
oe
rmr
ta
osaal
enaet
itm
eotaos
neto
mm
stoloe
arlaiit
oons
orlmoael
imr
nmmrmoa
armst
rsmlms
mnttseat
liras
oeoelo
esl
at
rsenolsi
ai
nttt
st
ortoln
lie
lrrl
aienlt
imi
ls
amlmatm
rseemalo
tol
aseilan
mmno
aitne');
CREATE TABLE makemore_ensembles (
	study_uid VARCHAR(32) NOT NULL, 
	most INTEGER NOT NULL, 
	members JSON NOT NULL, 
	dev_loss FLOAT NOT NULL, 
	chosen_at FLOAT NOT NULL, 
	PRIMARY KEY (study_uid), 
	FOREIGN KEY(study_uid) REFERENCES makemore_studies (uid) ON DELETE CASCADE
);
CREATE TABLE makemore_openings (
	study_uid VARCHAR(32) NOT NULL, 
	study_name TEXT NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	split_seed BIGINT NOT NULL, 
	trial INTEGER NOT NULL, 
	config JSON NOT NULL, 
	dev_loss FLOAT NOT NULL, 
	models JSON NOT NULL, 
	claimed_by VARCHAR(32) NOT NULL, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	claimed_at FLOAT NOT NULL, 
	seen_at FLOAT NOT NULL, 
	evaluated_at FLOAT, 
	result JSON, 
	PRIMARY KEY (study_uid)
);
CREATE TABLE makemore_schema (
	id INTEGER NOT NULL CHECK (id = 1), 
	version INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "makemore_schema" VALUES(1,5);
CREATE TABLE makemore_slots (
	study_uid VARCHAR(32) NOT NULL, 
	ordinal INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	worker_id VARCHAR(32), 
	attempt_id INTEGER, 
	losses INTEGER NOT NULL, 
	snapshots JSON NOT NULL, 
	PRIMARY KEY (study_uid, ordinal), 
	FOREIGN KEY(study_uid) REFERENCES makemore_studies (uid) ON DELETE CASCADE
);
INSERT INTO "makemore_slots" VALUES('c86a1c304e1da612c3acc51467a37f8e',0,'finished',NULL,1,0,'[]');
INSERT INTO "makemore_slots" VALUES('c86a1c304e1da612c3acc51467a37f8e',1,'finished',NULL,2,0,'[]');
INSERT INTO "makemore_slots" VALUES('c86a1c304e1da612c3acc51467a37f8e',2,'finished',NULL,3,0,'[]');
INSERT INTO "makemore_slots" VALUES('c86a1c304e1da612c3acc51467a37f8e',3,'finished',NULL,4,0,'[]');
CREATE TABLE makemore_studies (
	uid VARCHAR(32) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	optuna_id INTEGER NOT NULL, 
	document JSON NOT NULL, 
	corpus_name TEXT NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	artifacts TEXT, 
	created_at FLOAT NOT NULL, 
	stop_requested_at FLOAT, 
	closed_at FLOAT, 
	moved_to TEXT, 
	PRIMARY KEY (uid), 
	UNIQUE (name)
);
INSERT INTO "makemore_studies" VALUES('c86a1c304e1da612c3acc51467a37f8e','old',1,'{"study": {"name": "old", "corpus": "words.txt", "seed": 1, "split_seed": 42, "dedupe": false}, "budget": {"trials": 4, "timeout": null, "target": null, "examples": 1000, "epochs": null, "evaluations": 3}, "sampler": {"kind": "tpe"}, "pruner": {"kind": "asha", "reduction_factor": 3, "audit": 0.0}, "early_stopping": {"patience": null}, "limits": {"seconds": null, "memory": null}, "confirm": {"ensemble": 0}, "search": {"embedding_size": {"low": 2, "high": 8}, "hidden_width": [16, 32], "block_size": [2, 3], "batch_size": [32, 64], "learning_rate": {"low": 0.001, "high": 1.0, "log": true}, "schedule": ["constant", "step", "linear", "cosine", "inverse"], "step_at": 0.5, "step_factor": 0.1, "warmup": 0.02, "weight_decay": 0.0, "decay_growth": 1.0, "dropout": 0.0, "smoothing": 0.0, "optimizer": ["adamw", "sgd"], "targets": "expected", "initialisation": "scaled", "direct": false}, "enqueue": []}','words','e8f54c9cbe6d3d33abf9393d7c1ff62e43996301ce858c41cf6baa446e3258b8',NULL,1.79568747411501550672e+09,NULL,NULL,NULL);
CREATE TABLE makemore_workers (
	id VARCHAR(32) NOT NULL, 
	study_uid VARCHAR(32) NOT NULL, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	started_at FLOAT NOT NULL, 
	seen_at FLOAT NOT NULL, 
	ended_at FLOAT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(study_uid) REFERENCES makemore_studies (uid) ON DELETE CASCADE
);
INSERT INTO "makemore_workers" VALUES('e1d239c630a929e69a7232839a4d626e','c86a1c304e1da612c3acc51467a37f8e','host',9443,1.79568748296598339076e+09,1.79568748308599901203e+09,1.79568748308901643753e+09);
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'old');
INSERT INTO "studies" VALUES(2,'theirs');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',2,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["dev loss"]');
INSERT INTO "study_system_attributes" VALUES(2,1,'dashboard:note_ver','2');
INSERT INTO "study_system_attributes" VALUES(3,1,'dashboard:note_str:0','"## old\n\nSearches the hyperparameters of the network of Bengio et al. 2003 (makemore''s MLP). Losses are nats per character on the dev split; lower is better.\n\n- corpus **words**, fingerprint `e8f54c9cbe6d3d33abf9393d7c1ff62e43996301ce858c41cf6baa446e3258b8`, split seed 42\n- budget: 4 trials of 1,000 examples; sampler tpe, pruner asha, seed 1\n\n| | dev loss |\n|---|---|\n| best trial, number 3 (one seed) | 2.3948 |\n| bigram (Kneser-Ney, exact) | 2.3747 |\n\n**Confirmation**: none yet; `makemore-search confirm` retrains the best on fresh seeds.\n\n**Test split**: sealed; nobody has looked at it for this study."');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,333,2.49830079730600118637e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,666,2.62263022363185882568e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,1000,2.63341567758470773696e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,333,2.42119156010448932647e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,2,666,2.4176681595854461193e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,2,1000,2.41676713398192077875e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,3,333,2.46630159486085176467e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,4,333,2.40017408924177289009e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,4,666,2.39610111911315470933e+00,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,4,1000,2.39484703436028212308e+00,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'embedding_size',5.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(2,1,'hidden_width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16, 32]}}');
INSERT INTO "trial_params" VALUES(3,1,'block_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3]}}');
INSERT INTO "trial_params" VALUES(4,1,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64]}}');
INSERT INTO "trial_params" VALUES(5,1,'learning_rate',5.44912759862658246934e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(6,1,'schedule',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "step", "linear", "cosine", "inverse"]}}');
INSERT INTO "trial_params" VALUES(7,1,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(8,2,'embedding_size',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(9,2,'hidden_width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16, 32]}}');
INSERT INTO "trial_params" VALUES(10,2,'block_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3]}}');
INSERT INTO "trial_params" VALUES(11,2,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64]}}');
INSERT INTO "trial_params" VALUES(12,2,'learning_rate',1.98628433172345596202e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(13,2,'schedule',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "step", "linear", "cosine", "inverse"]}}');
INSERT INTO "trial_params" VALUES(14,2,'optimizer',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(15,3,'embedding_size',5.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(16,3,'hidden_width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16, 32]}}');
INSERT INTO "trial_params" VALUES(17,3,'block_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3]}}');
INSERT INTO "trial_params" VALUES(18,3,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64]}}');
INSERT INTO "trial_params" VALUES(19,3,'learning_rate',2.41912078154928218698e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(20,3,'schedule',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "step", "linear", "cosine", "inverse"]}}');
INSERT INTO "trial_params" VALUES(21,3,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(22,4,'embedding_size',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(23,4,'hidden_width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16, 32]}}');
INSERT INTO "trial_params" VALUES(24,4,'block_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2, 3]}}');
INSERT INTO "trial_params" VALUES(25,4,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64]}}');
INSERT INTO "trial_params" VALUES(26,4,'learning_rate',4.48956602113099734197e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(27,4,'schedule',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "step", "linear", "cosine", "inverse"]}}');
INSERT INTO "trial_params" VALUES(28,4,'optimizer',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(29,5,'x',9.63615621410342404473e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,2.49830079730600118637e+00,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,2.41676713398192077875e+00,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,2.46630159486085176467e+00,'FINITE');
INSERT INTO "trial_values" VALUES(4,4,0,2.39484703436028212308e+00,'FINITE');
INSERT INTO "trial_values" VALUES(5,5,0,9.63615621410342404473e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 05:04:43.004327','2026-11-26 05:04:43.028506');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 05:04:43.040894','2026-11-26 05:04:43.052802');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-26 05:04:43.060891','2026-11-26 05:04:43.066920');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-26 05:04:43.074380','2026-11-26 05:04:43.083143');
INSERT INTO "trials" VALUES(5,0,2,'COMPLETE','2026-11-26 10:04:44.008951','2026-11-26 10:04:44.043606');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX makemore_openings_by_split ON makemore_openings (fingerprint, split_seed);
CREATE INDEX makemore_workers_by_study ON makemore_workers (study_uid);
CREATE INDEX makemore_attempts_by_trial ON makemore_attempts (study_uid, trial);
CREATE INDEX makemore_attempts_by_slot ON makemore_attempts (study_uid, ordinal);
CREATE INDEX makemore_attempts_by_loss ON makemore_attempts (study_uid, outcome, dev_loss, trial);
CREATE INDEX makemore_slots_by_state ON makemore_slots (study_uid, state);
COMMIT;
