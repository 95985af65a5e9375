"""The page for people: what it shows to whom, and what its forms do."""

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
import tomli_w
from service import Service
from workspace import Workspace, some_words, tiny

from search.service import calls, page, study_page
from search.service.submit_page import with_corpus
from search.study.study import find
from search.trials import leases

Serve = Callable[..., Service]
ACTIONS = ("stop", "resume", "confirm", "test", "delete")
HTML = {"Accept": "text/html"}


class Outline(HTMLParser):
    """What somebody who cannot see a page meets in it, and what its policy forbids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.forbidden: list[str] = []
        self.nameless: list[str] = []
        self.labelled: set[str] = set()
        self.within_label = 0
        self.fields: list[tuple[str, dict[str, Any]]] = []
        self.feed(html)
        self.nameless += [
            str(given)
            for kind, given in self.fields
            if given.get("id") not in self.labelled and given.get("type") != "hidden"
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.counts[tag] += 1
        self.levels += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.within_label += tag == "label"
        self.ids += [given["id"]] if given.get("id") else []
        self.labelled |= {given["for"] or ""} if tag == "label" and "for" in given else set()
        if tag == "style" or (tag == "script" and "src" not in given):
            self.forbidden.append(tag)
        self.forbidden += [name for name in given if name == "style" or name.startswith("on")]
        is_field = tag in ("input", "select", "textarea", "progress")
        if is_field and not self.within_label and "aria-label" not in given:
            self.fields.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        self.within_label -= tag == "label"


def assert_sound(answer: Any) -> str:
    """A page of ours: strict policy, one heading of the first level and no level left out,
    landmarks, labelled fields."""
    html: str = answer.text
    outline = Outline(html)
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert [] == outline.forbidden
    assert [] == outline.nameless
    assert (1, 1, 1) == tuple(outline.counts[tag] for tag in ("h1", "main", "title"))
    assert all(level <= before + 1 for before, level in pairwise([0, *outline.levels]))
    assert [] == [each for each, count in Counter(outline.ids).items() if count > 1]
    return html


def text_of(html: str) -> str:
    """What is left of markup for people."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_list_shows_each_study(finished: Workspace, serve: Serve) -> None:
    """Its state, its progress, its best dev loss and a little curve; the part that changes is sent
    again only when it did."""
    client = serve(finished).client()
    best = finished.json("best", "tiny")["dev_loss"]
    html = assert_sound(client.get("/"))
    for words in ("tiny", "done", "12/12", f"{best:.4f}", '<svg class="little"', "<polyline"):
        assert words in html
    part = client.get("/live?q=&state=&page=1")
    assert part.text.strip() in html
    again = client.get("/live", headers={"If-None-Match": part.headers["etag"]})
    assert (304, "") == (again.status_code, again.text)
    assert "No study is like that" in client.get("/?state=open").text
    assert "No study is like that" in client.get("/?q=other").text


def test_many_studies_are_paged(
    bed: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest come first, and links lead to the others; none is read for another's page."""
    monkeypatch.setattr(page, "ROWS", 2)
    for number in range(3):
        bed.create(study={"name": f"study-{number}"})
    client = serve(bed).client()
    first, second = client.get("/"), client.get("/?page=2")
    assert ["study-2", "study-1"] == re.findall(r'href="/studies/([^"]+)"', first.text)
    assert ["study-0"] == re.findall(r'href="/studies/([^"]+)"', second.text)
    assert 'rel="next"' in first.text and 'rel="prev"' in second.text
    assert "waiting" in text_of(first.text)


def test_an_empty_storage_leads_to_the_form(bed: Workspace, serve: Serve) -> None:
    """Whoever comes first reads what to do."""
    assert "There is no study yet" in assert_sound(serve(bed).client().get("/"))


def test_a_study_is_shown_whole(finished: Workspace, serve: Serve) -> None:
    """Its page has what the command line tells: best, curve, trials, configuration; the part that
    changes is the same alone."""
    client = serve(finished).client()
    best = finished.json("best", "tiny")
    html = assert_sound(client.get("/studies/tiny"))
    for words in (
        f"best {best['dev_loss']:.4f} (trial {best['trial']}, one seed, not confirmed)",
        "Done: its 12 trials are finished.",
        '<svg class="chart"',
        f"hidden_width = {best['config']['hidden_width']}",
        "/dashboard/studies/1",
        "/api/v1/studies/tiny/report",
    ):
        assert words in html, words
    part = client.get("/studies/tiny/live")
    assert part.text.strip() in html
    again = client.get("/studies/tiny/live", headers={"If-None-Match": part.headers["etag"]})
    assert 304 == again.status_code


def test_a_running_study_shows_trials_and_workers(bed: Workspace, serve: Serve) -> None:
    """Each under its own heading: the curves of the running trials, then who trains them."""
    stored = bed.create()
    leases.register_worker(bed.storage, stored)
    html = assert_sound(serve(bed).client().get("/studies/tiny"))
    whole = r"<h2[^>]*>Running trials</h2>\s*<figure>.*?</figure>\s*<h3>Workers</h3>\s*<ul"
    assert re.search(whole, html, re.DOTALL)
    assert "worker 1: idle" in text_of(html)


def test_a_token_that_is_wrong_is_said_so(bed: Workspace, serve: Serve) -> None:
    """Also to whoever hears the page: an alert, on a page with landmarks."""
    service = serve(bed)
    service.token("read")
    answer = service.client().post("/sign-in", data={"token": "none"}, headers=HTML)
    assert 401 == answer.status_code
    outline = Outline(answer.text)
    assert (1, 1) == (outline.counts["main"], outline.counts["h1"]) and [] == outline.nameless
    assert '<p role="alert">That token is wrong.</p>' in answer.text


def test_trials_have_pages(
    finished: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All trials with their reasons, by number, and one with its curve."""
    monkeypatch.setattr(study_page, "PAGE", 5)
    client = serve(finished).client()
    first = assert_sound(client.get("/studies/tiny/trials"))
    assert ["0", "1", "2", "3", "4"] == re.findall(r"/trials/(\d+)\"", first)
    assert "after=4" in first
    one = assert_sound(client.get("/studies/tiny/trials/3"))
    assert str(finished.root) not in one
    assert "Trial 3" in one and '<svg class="chart"' in one and "block_size = " in one
    missing = client.get("/studies/tiny/trials/99", headers=HTML)
    assert 404 == missing.status_code and "has no trial 99" in assert_sound(missing)


@pytest.mark.parametrize(
    ("scope", "offered"),
    [
        ("read", set()),
        ("submit", {"resume", "confirm"}),
        ("admin", {"resume", "confirm", "test", "delete"}),
    ],
)
def test_a_token_is_offered_what_it_may_do(
    finished: Workspace, serve: Serve, scope: str, offered: set[str]
) -> None:
    """The page of a study that is done has buttons for what the token allows, and the other forms
    are refused."""
    service = serve(finished)
    client = service.client(service.token(scope), **HTML)
    html = client.get("/studies/tiny").text
    assert offered == {each for each in ACTIONS if f"/studies/tiny/{each}" in html}
    for action in set(ACTIONS) - offered - {"stop"}:
        answer = client.post(f"/studies/tiny/{action}", data={"confirm": "tiny"})
        assert 403 == answer.status_code and scope in assert_sound(answer), action
    for action in offered:
        assert_sound(client.get(f"/studies/tiny/{action}"))
    assert find(finished.storage, "tiny") is not None


def test_stop_and_resume(bed: Workspace, serve: Serve) -> None:
    """An open study is stopped with one button; resuming takes a new budget, and says in one line
    what is wrong with another."""
    bed.create()
    service = serve(bed)
    client = service.client(service.token("submit", "ann"), **HTML)
    assert "/studies/tiny/stop" in client.get("/studies/tiny").text
    stopped = client.post("/studies/tiny/stop")
    assert (303, "/studies/tiny?done=stopped") == (
        stopped.status_code,
        stopped.headers["location"],
    )
    html = client.get("/studies/tiny").text
    assert "Stopped by <code>stop</code>" in html and "/studies/tiny/stop" not in html
    assert "stop, by ann" in text_of(html)
    form = assert_sound(client.get("/studies/tiny/resume"))
    assert 'name="trials" value="12"' in form
    for wrong, line in (
        ({"trials": "many"}, "no whole number"),
        ({"timeout": "soon"}, "is not a duration"),
    ):
        answer = client.post("/studies/tiny/resume", data=wrong)
        assert answer.status_code in (400, 422) and line in assert_sound(answer)
        assert next(iter(wrong.values())) in answer.text
    assert 303 == client.post("/studies/tiny/resume", data={"trials": "30"}).status_code
    stored = find(bed.storage, "tiny")
    assert stored is not None and (30, False) == (stored.spec.budget.trials, stored.stopped)


def test_a_confirmation_has_its_cost_beforehand(
    finished: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form shows the number of trainings for what is chosen; asking for it adds a job."""
    monkeypatch.setattr("search.trials.jobs.next_id", lambda _storage: None)  # nobody does it
    service = serve(finished)
    client = service.client(service.token("submit"), **HTML)
    form = assert_sound(client.get("/studies/tiny/confirm?top=2&seeds=1"))
    assert "Cost: 2 trainings" in form
    assert 303 == client.post("/studies/tiny/confirm", data={"top": 2, "seeds": 1}).status_code
    assert "Confirm: waiting" in text_of(client.get("/studies/tiny").text)


def test_the_test_split_opens_once(finished: Workspace, serve: Serve) -> None:
    """It warns, wants the name, shows the answer, and the same one to whoever asks again."""
    service = serve(finished)
    client = service.client(service.token("admin"), **HTML)
    warning = assert_sound(client.get("/studies/tiny/test"))
    assert "opens once, and for good" in warning
    wrong = client.post("/studies/tiny/test", data={"confirm": "tin"})
    assert 422 == wrong.status_code and "is not the study&#39;s name" in assert_sound(wrong)
    assert "The test split" not in client.get("/studies/tiny").text
    answers = [client.post("/studies/tiny/test", data={"confirm": "tiny"}) for _ in range(2)]
    assert ["opened", "tested"] == [a.headers["location"].split("=")[1] for a in answers]
    loss = finished.json("test", "tiny")["test_loss"]
    shown = assert_sound(client.get("/studies/tiny?done=tested"))
    assert f"test loss {loss:.4f}" in shown and "this is the recorded answer" in shown
    assert 303 == client.get("/studies/tiny/test").status_code


def test_a_study_is_deleted_by_its_name(finished: Workspace, serve: Serve) -> None:
    """Another name deletes nothing."""
    service = serve(finished)
    client = service.client(service.token("admin"), **HTML)
    wrong = client.post("/studies/tiny/delete", data={"confirm": "Tiny"})
    assert 422 == wrong.status_code and find(finished.storage, "tiny") is not None
    gone = client.post("/studies/tiny/delete", data={"confirm": "tiny"})
    assert "/?done=deleted" == gone.headers["location"]
    assert find(finished.storage, "tiny") is None
    missing = client.get("/studies/tiny")
    assert 404 == missing.status_code and "none of this name" in assert_sound(missing)
    assert (
        "application/problem+json"
        == service.client(service.token("read")).get("/studies/tiny").headers["content-type"]
    )


def upload(client: Any, text: str, **fields: Any) -> Any:
    return client.post("/corpora", files={"file": ("mine.txt", text.encode())}, data=fields)


def test_words_are_uploaded_and_chosen(bed: Workspace, serve: Serve) -> None:
    """An upload appears among the corpora of the form; a bad one is refused in the command's line;
    an empty field is none."""
    service = serve(bed)
    client = service.client(service.token("submit"), **HTML)
    assert (
        "/corpora?done=uploaded"
        == upload(client, "\n".join(some_words()), column="").headers["location"]
    )
    assert "done=known" in upload(client, "\n".join(some_words())).headers["location"]
    for text, line in (("ann\nbob", "at least 10 are needed"), ("\x00\x01", "")):
        bad = upload(client, text)
        assert 422 == bad.status_code and line in assert_sound(bad)
    assert "mine" in assert_sound(client.get("/corpora"))
    assert "mine (uploaded by a-submit)" in assert_sound(client.get("/submit"))


def test_a_study_file_is_checked_then_started(
    bed: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistakes stand at their lines and the text stays; what is right shows its cost, and only what
    was checked is started."""
    estimate, known = calls.preview, dict[str, Any]()  # it trains a little, so once is enough
    monkeypatch.setattr(
        calls, "preview", lambda *given: known or known.update(estimate(*given)) or known
    )
    service = serve(bed)
    client = service.client(service.token("submit"), **HTML)
    upload(client, "\n".join(some_words()))
    (fingerprint,) = re.findall(r'value="([0-9a-f]{64})"', client.get("/submit").text)
    text = tomli_w.dumps(tiny()).replace("trials = 12", "trials = 0\nspeed = 9")
    bad = client.post("/submit", data={"toml": text, "corpus": fingerprint})
    html = assert_sound(bad)
    lines = text.splitlines()
    for key in ("trials", "speed"):
        number = next(n for n, line in enumerate(lines, 2) if line.startswith(key))
        assert f'data-line="{number}"' in html, key
    assert 422 == bad.status_code and 'aria-invalid="true"' in html and "speed = 9" in html
    good = {"toml": tomli_w.dumps(tiny()).replace("\n", "\r\n"), "corpus": fingerprint}
    assert "What it costs" in client.post("/submit", data={**good, "action": "start"}).text
    assert find(bed.storage, "tiny") is None
    checked = assert_sound(client.post("/submit", data=good))
    (digest,) = re.findall(r'name="checked" value="(\w+)"', checked)
    start = {"toml": with_corpus(tomli_w.dumps(tiny()), fingerprint), "action": "start"}
    other = start | {"toml": start["toml"] + "\n", "checked": digest}
    assert 200 == client.post("/submit", data=other).status_code
    assert find(bed.storage, "tiny") is None
    started = client.post("/submit", data=start | {"checked": digest})
    assert "/studies/tiny?done=submitted" == started.headers["location"]
    assert find(bed.storage, "tiny") is not None
    like = assert_sound(client.get("/submit?like=tiny"))
    assert "name = &#34;tiny-2&#34;" in like and fingerprint in like


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[study]\nname = "a"\n', '[study]\ncorpus = "names"\nname = "a"\n'),
        ('[study]\ncorpus = "x" # mine\n', '[study]\ncorpus = "names"\n'),
        ("[budget]\n", '[budget]\n\n[study]\ncorpus = "names"\n'),
    ],
)
def test_a_chosen_corpus_is_written_into_the_file(before: str, after: str) -> None:
    """It replaces the one that stands there, or is added to its table."""
    assert after == with_corpus(before, "names")
    assert before == with_corpus(before, "")


def test_studies_are_compared(finished: Workspace, serve: Serve) -> None:
    """In one plot, each with its line and row; what is missing, or not comparable, is said."""
    finished.create(finished.file(study={"name": "other"}))
    client = serve(finished).client()
    html = assert_sound(client.get("/compare?study=tiny&study=other"))
    assert "tiny: best dev loss" in html and 'href="/studies/other"' in html
    assert "There is no study third" in client.get("/compare?study=tiny&study=third").text
    assert (
        'href="/compare?study=other&amp;by=trials"'
        in client.get("/compare?study=tiny&study=other&by=trials").text
    )
    assert_sound(client.get("/compare"))


def test_words_from_the_model(finished: Workspace, serve: Serve) -> None:
    """As many as were asked for, with the beginning asked for; an error is its one line."""
    client = serve(finished).client(**HTML)
    html = assert_sound(client.get("/studies/tiny/samples?prefix=ma&n=7&temperature=0.8&new=1"))
    words = re.findall(r"<li>(\w+)</li>", html.split('id="words"')[1])
    assert 7 == len(words) and all(word.startswith("ma") for word in words)
    wrong = client.get("/studies/tiny/samples?prefix=M%C3%BC")
    assert 400 == wrong.status_code and 'role="alert"' in assert_sound(wrong)


def test_a_name_is_no_markup(bed: Workspace, serve: Serve) -> None:
    """Whatever a study is called, its name is shown as it is, and its links lead to it."""
    name = "a&<b>\"'?# 9% ü"
    bed.create(study={"name": name})
    client = serve(bed).client()
    html = assert_sound(client.get("/"))
    assert "<b>" not in html
    (path,) = set(re.findall(r'href="(/studies/[^"]+)"', html))
    shown = assert_sound(client.get(path))
    assert "a&amp;&lt;b&gt;&#34;&#39;?# 9% ü</h1>" in shown and "<b>" not in shown
