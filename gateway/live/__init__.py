"""The checks that really ask, step by step: what `check --live` and `token` do.

`checking` goes through a configuration: `asking` looks at the way to each token endpoint (`reaching`), at its discovery
document and at a token; `trying` sends a harmless request with that token to each upstream. They gather facts;
`oic.diagnosis` says what those mean. `inquiring` asks the
same of what fails while the gateway serves, for `/status`. Nothing here shows a secret or a token.
"""

from gateway.live.checking import check
from gateway.live.tokens import TokenAnswer, token

__all__ = ["TokenAnswer", "check", "token"]
