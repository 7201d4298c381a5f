"""The verb `init`: a first configuration from what a person copies out of Oracle's console.

What is copied is seldom what a configuration needs: `config.corrections` turns each value into what was meant and says
what was changed; the route's name and path follow from the integration (naming).

A `Form` (form) takes each value from its flag, else from a `Person` at a terminal (person). What they gave is a
`Draft` (draft), the text of a file. `writing` looks at the secret's file, has the product's own loader judge the draft,
and puts it in its place. `command` is the verb.
"""
