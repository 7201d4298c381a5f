"""What a body is made of: charsets, content codings, media types, and text from outside that is read without raising.

`media_type` reads Content-Type, `content_coding` takes codings off, `charsets` finds the charset of a text,
`pieces` joins small pieces.
`foreign_text` reads URLs, authorities and dates. Pure.
"""
