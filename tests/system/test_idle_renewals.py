"""A sign-in does not end because there are no calls: processes use its refresh token, one at a time."""

from pathlib import Path

from tests.fakes.identity import Identity, token
from tests.fakes.process import gateway
from tests.fakes.upstream import Upstream
from tests.system.scene import credential, simple, written

VARIABLES = {"STATE_KEY": "0123456789abcdef" * 4, "REFRESH": "refresh-0", "APP_SECRET": "secret"}


async def test_idle_replicas_use_each_refresh_token_once(tmp_path: Path) -> None:
    answers = [token(f"access-{number}", refresh_token=f"refresh-{number}") for number in range(1, 100)]
    async with Identity(*answers) as identity, Upstream() as upstream:
        app = credential(identity.url, grant="refresh_token", refresh_token={"env": "REFRESH"}, renew={"idle": "1s"})
        state = {"path": str(tmp_path / "state.db"), "keys": [{"env": "STATE_KEY"}], "timeout": "20s"}
        file = written(tmp_path, simple(identity.url, upstream.url, credentials={"app": app}, state=state, workers=2))
        async with gateway(file, **VARIABLES) as one, gateway(file, **VARIABLES) as other:
            await identity.wait_for_requests(4)
            assert (await one.get("/orders/"))[0] == 200
            assert (await other.get("/orders/"))[0] == 200
        used = [request.form["refresh_token"][0] for request in identity.requests]
        assert used == [f"refresh-{number}" for number in range(len(used))]
