"""Facts about Oracle Integration Cloud. Pure: nothing here acts.

`urls` and `scopes` contain the grammar of OIC's hosts, paths and scopes, which configuration, diagnosis and checks use.
`instance_id` finds the id of a run in a response, in bodies with the scanners of `bodies`. `soap_credentials` removes
the credentials of a SOAP caller from a request, which `ws_security` finds in the message; `usual_soap` recognizes the
messages that have none. The request pipeline calls these for each call. `message_packs` contains the limits of a
service, and `billed_messages` counts what a call costs.
"""
