"""Read bodies and texts from outside. Pure, and used by all other packages.

`media_type` reads Content-Type and the root part of multipart bodies, `content_coding` decodes gzip and deflate,
`charsets` detects the charset of a text and converts it, `foreign_text` reads URLs, authorities and dates without
raising, `pieces` joins small pieces that wait in memory.
"""
