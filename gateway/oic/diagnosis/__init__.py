"""From what was seen to what it means and what to do, for the mistakes that people make when they set OIC up. Pure.

*Facts* are frozen values that others gathered: how far a connection came (`Contact`), what became of a credential
(`Asked`), what an upstream answered to a harmless request (`Tried`). `contacts`, `credentials` and `routes` judge them,
`scopes` reads scopes and audiences, `targets` knows OIC's URLs. What comes out are `Finding`s: each names a row of
`gateway.mistakes` by its code.
"""

from gateway.oic.diagnosis.finding import Finding, document, failed, skipped
from gateway.oic.diagnosis.scopes import of_audience

__all__ = ["Finding", "document", "failed", "of_audience", "skipped"]
