"""A person signs in once, so that the gateway can go on unattended: the verbs `login` and `logout`.

`login` (login) makes the address of the authorization endpoint, with PKCE and a `state` of its own (`Ask`, ask), and
shows it. The answer comes back by a browser to a `Listener` on this machine (listener), or is pasted by the person
(paste). What it means is told by `read_answer` (answer, pure). Its code is exchanged as any token request is made, and
the refresh token put where the running gateway looks for it: under the lease, so that no renewal crosses it. `logout`
(logout) revokes that token and forgets it.
"""
