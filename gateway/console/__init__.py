"""The web console on the admin port. It is imported only if the configuration has `console`.

`console` dispatches a request of the admin port: to a page, a file of `static_files`, or the login. A page is a
function in `pages`: it gets a `PageRequest` and returns a `Page` (`page`), which `rendering` turns into HTML.
`security_headers` are the fields of every response.
"""
