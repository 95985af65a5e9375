"""Our own tables, beside Optuna's in the same database.

    makemore_schema      one row: the version of these tables
    makemore_corpora     the words of the studies, so that a worker needs nothing but the database
    makemore_studies     a study's definition, budget and flags
    makemore_workers     one row for each worker process: its lease
    makemore_slots       the budget: one row for each configuration ever claimed, by ordinal
    makemore_attempts    one row for each time a slot was tried: seeds, reason, curve, checkpoint
    makemore_confirmations  the best configurations, trained again on fresh seeds
    makemore_ensembles   the models whose averaged probabilities do best, where a study wants that
    makemore_openings    openings of a test split; these outlive their study
    makemore_services    one row for each process that works on whatever open studies there are
    makemore_tokens      who may use the service over HTTP, with what scope and limits
    makemore_sessions    browsers in which a token was exchanged for a cookie
    makemore_changes     what was changed over HTTP, and with whose token; these outlive their study
    makemore_uploads     the corpora that were uploaded; their words are in makemore_corpora
    makemore_jobs        long work that was asked for over HTTP, such as a confirmation
    makemore_outbox      one row for each event that somebody may want to be told of

A slot is the unit of the budget: it is created under a lock, tried until one attempt finishes, and
counted once. `ordinal` counts configurations; an Optuna trial number counts attempts.
All times are seconds since 1970 by the database's clock. Optuna's are UTC, without saying so.
"""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import BigInteger

SCHEMA_VERSION = 12
"""Of what is described here; `migrations.py` brings older tables to it."""

metadata = MetaData()

schema = Table(
    "makemore_schema",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)

corpora = Table(
    "makemore_corpora",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("words", Text, nullable=False),  # joined by newlines: what the fingerprint is made of
)

studies = Table(
    "makemore_studies",
    metadata,
    Column("uid", String(32), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("optuna_id", Integer, nullable=False),
    Column("document", JSON, nullable=False),  # StudySpec.as_document()
    Column("corpus_name", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),  # its corpus, which may not be stored
    Column("artifacts", Text),  # where its model files lie for every host; null: where they arose
    Column("created_at", Float, nullable=False),
    Column("stop_requested_at", Float),  # its workers must leave; `run` and `submit` lift it
    Column("closed_at", Float),  # the test split was opened
    Column("worked_seconds", Float, nullable=False, server_default="0"),  # see `working_time`
    Column("worked_until", Float),  # the moment up to which that goes
    Column("moved_to", Text),  # the storage that it goes on in, without a password
)

LEASE_SECONDS = 30.0
"""A worker that has not been seen for so long has lost what it claimed."""

workers = Table(
    "makemore_workers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("study_uid", ForeignKey("makemore_studies.uid", ondelete="CASCADE"), nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("launch_id", String(32)),  # of the process that it is one stint of; null: nobody's
    Column("launcher_host", Text),  # who started that process, and sees it end
    Column("launcher_pid", Integer),
    Column("end_cause", String(16)),  # killed, shared, expired; null: it left by itself
    Column("log", Text),  # the name of its log's file in its host's data directory
    Index("makemore_workers_by_study", "study_uid"),
)

services = Table(
    "makemore_services",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("seen_at", Float, nullable=False),
)
"""A `serve`, or a `worker` without a study: an idle one stands in no study's workers."""

attempts = Table(
    "makemore_attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_uid", ForeignKey("makemore_studies.uid", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("worker_id", String(32), nullable=False),
    Column("trial", Integer),  # Optuna's number; unknown until its trial exists
    Column("retry_of", Integer),  # the number of the attempt before it
    Column("training_seed", BigInteger, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("device", String(32), nullable=False),
    Column("versions", JSON, nullable=False),
    Column("config", JSON(none_as_null=True)),  # unknown until it has been asked for
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", String(16)),  # complete, pruned, failed
    Column("reason", Text),
    Column("dev_loss", Float),
    Column("dev_loss_unseen", Float),
    Column("final_dev_loss", Float),
    Column("train_loss", Float),
    Column("seconds", Float),  # the training loop and its evaluations
    Column("worked_seconds", Float),  # of its study, by everybody, when this attempt ended
    Column("examples", BigInteger),
    Column("parameters", Integer),
    Column("curve", JSON),  # [[examples, dev_loss, train_seconds, train_loss], ...]
    Column("audited", Boolean),  # the pruner would have stopped it, had it not been audited
    Column("checkpoint_sha256", String(64)),
    Column("inherited", Integer),  # reports of its trial that an attempt before it had made
    Index("makemore_attempts_by_trial", "study_uid", "trial"),
    Index("makemore_attempts_by_slot", "study_uid", "ordinal"),
    Index("makemore_attempts_by_loss", "study_uid", "outcome", "dev_loss", "trial"),
    Index("makemore_attempts_by_outcome", "outcome", "reason", "seconds", "trial"),  # for metrics
)

slots = Table(
    "makemore_slots",
    metadata,
    Column("study_uid", ForeignKey("makemore_studies.uid", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),  # claimed, waiting, finished, abandoned
    Column("worker_id", String(32)),
    Column("attempt_id", Integer),
    Column("losses", Integer, nullable=False),  # by an error, or by a death that was its own
    Column("expirations", Integer, nullable=False, server_default="0"),  # by a lease that ran out
    Column("snapshots", JSON, nullable=False),  # of an unfinished trial, newest first
    Index("makemore_slots_by_state", "study_uid", "state"),
)

confirmations = Table(
    "makemore_confirmations",
    metadata,
    Column("study_uid", ForeignKey("makemore_studies.uid", ondelete="CASCADE"), primary_key=True),
    Column("trial", Integer, primary_key=True, autoincrement=False),
    Column("seed_index", Integer, primary_key=True, autoincrement=False),
    Column("seed", BigInteger, nullable=False),
    Column("dev_loss", Float, nullable=False),
    Column("dev_loss_unseen", Float),
    Column("seconds", Float, nullable=False),
    Column("checkpoint_sha256", String(64), nullable=False),
)

ensembles = Table(
    "makemore_ensembles",
    metadata,
    Column("study_uid", ForeignKey("makemore_studies.uid", ondelete="CASCADE"), primary_key=True),
    Column("most", Integer, nullable=False),  # how many models were wanted, at most
    Column("members", JSON, nullable=False),  # as `ensemble.Member`
    Column("dev_loss", Float, nullable=False),
    Column("chosen_at", Float, nullable=False),
)

openings = Table(
    "makemore_openings",
    metadata,
    Column("study_uid", String(32), primary_key=True),  # no foreign key: it outlives its study
    Column("study_name", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("split_seed", BigInteger, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("config", JSON, nullable=False),
    Column("dev_loss", Float, nullable=False),
    Column("models", JSON, nullable=False),  # as `winner.Winner.models`
    Column("claimed_by", String(32), nullable=False),  # who evaluates it, or did
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("claimed_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),  # by whoever is evaluating it
    Column("evaluated_at", Float),
    Column("result", JSON),
    Index("makemore_openings_by_split", "fingerprint", "split_seed"),
)

tokens = Table(
    "makemore_tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("scope", String(16), nullable=False),  # read, submit, admin
    Column("limits", JSON, nullable=False),  # as `tokens.LIMITS`; what is left out has none
    Column("secret_sha256", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
)

sessions = Table(
    "makemore_sessions",
    metadata,
    Column("secret_sha256", String(64), primary_key=True),
    Column("token_id", ForeignKey("makemore_tokens.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Float, nullable=False),
)

changes = Table(
    "makemore_changes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("study_uid", String(32)),  # no foreign key: it outlives its study; null: of none
    Column("study_name", Text),
    Column("token_id", String(32)),  # null: the token of --token-file, or none on loopback
    Column("token_name", String(64), nullable=False),
    Column("action", String(32), nullable=False),  # create, stop, ...
    Column("details", JSON, nullable=False),
    Column("made_at", Float, nullable=False),
    Index("makemore_changes_by_study", "study_uid"),
    Index("makemore_changes_by_token", "token_id", "action"),
)

uploads = Table(
    "makemore_uploads",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of its words in UTF-8
    Column("token_id", String(32)),
    Column("token_name", String(64), nullable=False),
    Column("uploaded_at", Float, nullable=False),
)

jobs = Table(
    "makemore_jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("study_uid", ForeignKey("makemore_studies.uid", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),  # confirm
    Column("arguments", JSON, nullable=False),
    Column("token_name", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # waiting, running, done, failed
    Column("estimated_seconds", Float),  # beforehand
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("seen_at", Float),  # by the process that works on it
    Column("ended_at", Float),
    Column("worker_id", String(32)),  # of that process, a new one at each try
    Column("host", Text),
    Column("pid", Integer),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("progress", JSON(none_as_null=True)),
    Column("error", Text),
    Column("result", JSON(none_as_null=True)),
    Index("makemore_jobs_by_study", "study_uid", "created_at"),
)

outbox = Table(
    "makemore_outbox",
    metadata,
    Column("id", String(32), primary_key=True),  # follows from the event, so there is one of each
    Column("study_uid", String(32), nullable=False),  # no foreign key: it outlives its study
    Column("study_name", Text, nullable=False),
    Column("event", String(16), nullable=False),  # done, improved, trouble
    Column("data", JSON, nullable=False),  # what is told
    Column("url", Text),  # of the study's own webhook; null: the service's, if it has one
    Column("created_at", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_try_at", Float),  # null: delivered, given up, or wanted by nobody
    Column("delivered_at", Float),
    Column("problem", Text),  # of the last try, without the address
    Index("makemore_outbox_by_time", "next_try_at"),
)
