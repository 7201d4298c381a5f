"""The conformance corpus (tests/corpus) against the real process: bytes in, verdicts of RFC 9110 and RFC 9112 out."""

from collections.abc import AsyncIterator
from operator import attrgetter

import pytest
import pytest_asyncio

from tests.corpus.cases import ReplyCase, RequestCase, dripped, load
from tests.corpus.stage import Stage, stage

CORPUS = load()
REQUESTS = [*CORPUS.requests, *dripped(CORPUS.requests, "send")]
REPLIES = [*CORPUS.replies, *dripped(CORPUS.replies, "say")]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("corpus"), REPLIES) as one:
        yield one


@pytest.mark.parametrize("case", REQUESTS, ids=attrgetter("name"))
async def test_corpus_of_requests(running: Stage, case: RequestCase) -> None:
    await running.request(case)


@pytest.mark.parametrize("case", REPLIES, ids=attrgetter("name"))
async def test_corpus_of_responses(running: Stage, case: ReplyCase) -> None:
    await running.reply(case)


async def test_every_request_of_the_corpus_left_one_record(running: Stage) -> None:
    await running.check_records()


async def test_the_corpus_is_sound() -> None:
    names = [case.name for case in (*CORPUS.requests, *CORPUS.replies)]
    assert sorted(set(names)) == sorted(names)
    assert len(CORPUS.requests) >= 120
    assert len(CORPUS.replies) >= 40
