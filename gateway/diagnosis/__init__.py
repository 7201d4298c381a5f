"""From what was seen to what it means and what to do, for the mistakes that people make when they set OIC up. Pure.

*Facts* are frozen values that others gathered: how far a connection came (`Contact`), what became of a credential
(`Asked`), what an upstream answered to a harmless request (`Tried`). `contacts`, `credentials` and `routes` judge them,
`scopes` reads scopes and audiences, `targets` knows OIC's URLs. What comes out are `Finding`s: each names a row of
`gateway.diagnosis.catalog` by its code.
"""

from gateway.diagnosis.finding import Finding, document, failed, skipped

__all__ = ["Finding", "document", "failed", "skipped"]
