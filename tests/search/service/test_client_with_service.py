"""The client with the service itself: each word of one is a word of the other."""

from collections.abc import Callable

import pytest
from service import Service
from workspace import Workspace, some_words, tiny

from search.client import Client, NotAllowed, NotFound, Refused, StudyFileError
from search.study import study as studies


def client_of(service: Service, scope: str) -> Client:
    token = service.token(scope)
    return Client("http://localhost", token, http=service.client(), patience=0)


def test_a_study_goes_through_the_client(bed: Workspace, serve: Callable[..., Service]) -> None:
    """Corpus, submission, status, trials, the winner and its model; stop, resume, delete."""
    service = serve(bed)
    client = client_of(service, "admin")
    words = client.upload_corpus("\n".join(some_words()), name="words")
    assert words["fingerprint"] in [each["fingerprint"] for each in client.corpora()]
    document = tiny(study={"corpus": words["fingerprint"]}, budget={"trials": 3})
    study = client.submit(document)
    assert ["tiny"] == [each["study"] for each in client.studies("open")]
    assert "stop" == study.stop()["ended_by"]
    study.resume(trials=2)
    bed.work(studies.resolve(bed.storage, "tiny"))
    status = study.wait(timeout=60, progress=False)
    assert ("done", 2) == (status["state"], status["budget"]["finished"])
    assert status["best"]["dev_loss"] == study.best()["dev_loss"]
    assert [each["number"] for each in study.trials()] == list(study.frame()["number"])
    assert study.trial(0)["curve"]
    path = study.save_model(bed.root / "model.safetensors")
    assert bed.json("sample", "--checkpoint", path, "-n", 2, "--seed", 1)
    assert "tiny" in study._repr_html_() and "tiny" in client._repr_html_()
    study.delete("tiny")
    with pytest.raises(NotFound, match="tiny"):
        client.study("tiny")


def test_the_service_s_refusals_are_exceptions(
    finished: Workspace, serve: Callable[..., Service]
) -> None:
    """Each of its kind, with the line that the command would print."""
    service = serve(finished)
    client = client_of(service, "submit")
    with pytest.raises(NotAllowed):
        client.study("tiny").delete("tiny")
    with pytest.raises(NotAllowed):
        Client("http://localhost", "wrong", http=service.client(), patience=0).studies()
    with pytest.raises(StudyFileError) as wrong:
        client.submit('[study]\nname = "x"\n[budget]\ntrials = 0\nexampels = 1\n')
    assert {"budget.trials", "budget.exampels"} == {each.key for each in wrong.value.mistakes}
    words = client.upload_corpus("\n".join(some_words()))
    with pytest.raises(Refused, match=r"study\.seed"):
        client.submit(tiny(study={"corpus": words["fingerprint"], "seed": 99}))
