"""Read bodies and texts that callers, OIC and identity domains send. Pure; all other packages may use it.

`media_type` reads Content-Type and finds the root part of multipart bodies. `content_coding` decodes gzip and deflate.
`charsets` detects and converts charsets. `untrusted_text` reads URLs, authorities and dates in texts of others without
raising; `redaction` removes secrets from them. `pieces` joins small pieces of a body.
"""
