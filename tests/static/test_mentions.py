"""The check of mentions finds what does not exist, and nothing else."""

from tests.static import mentions

TEXT = """
Run `make check`, then `make chekc`.

```sh
make demo
make dmeo
```

| a grant | `gateway/oauth/grants.py` (`GRANTS`), `gateway/oauth/gone.py` (`GRANTS`) |
| a code | `gateway/errors.py` (a class, and `GRANTS`), `proxy/forward.py`, `proxy/gone.py`, `forward.py` |
| a folder | `gateway/oauth/stores/`, `gateway/shops/`, `tests/fakes`, `tests/fkes` |
| a name | `Exchange.request_target`, `Exchange.reqeust_target`, `_attempt`, `_atempt`, `run_command`, `Nothing` |
| other words | `state`, `Host`, `Retry-After`, `/status`, `vX.Y.Z` |
"""


def test_what_does_not_exist_is_reported() -> None:
    assert list(mentions.missing(TEXT)) == [
        "gateway/oauth/gone.py",
        "proxy/gone.py",
        "gateway/shops/",
        "tests/fkes",
        "Exchange.reqeust_target",
        "_atempt",
        "Nothing",
        "GRANTS in gateway/errors.py",
        "make chekc",
        "make dmeo",
    ]


def test_documents_name_existing_things() -> None:
    assert mentions.problems() == []
