"""Rewrite URLs of OIC in responses to URLs of the gateway. Pure: bytes in, bytes out.

A `UrlMap` (`url_map`) knows the upstreams of all routes. It maps one URL for the `RequestContext` of one request: that
is enough for a response head. A body has a `RewritePlan` (`plan`) if it can be read; a `Rewriter` (`pipeline`) passes
it through these steps:

    `content.content_coding`  undo gzip and deflate, in parts of bounded size
    `content.charsets`        detect the charset; convert UTF-16 to UTF-8 and back
    `swagger`                 replace host, basePath and schemes of a Swagger document, which are one URL together;
                              `nesting_depth` finds its top level
    `scanner`                 hold back what is open, so that the chunking does not change the output; in what is left:
        `literals`            find the places where the host or the path of an upstream is; most bodies have none, as
                              one scan shows (`pattern_scan`)
        `usual_links`         replace URLs in their usual spelling together, which `links` finds; `link_names` are the
                              names of values that are links, or only look like them
        `url_syntax`          read the beginning of any other URL before such a place: the URL syntax of JSON, XML and
                              YAML, in terms of `decoded_url`
        `contexts`            whether a URL in JSON or YAML is rewritten, or is a name; for XML and HTML `xml_context`

Only scheme, authority and the upstream's path are replaced, in the same encoding; all other bytes pass unchanged. A
whole body that `has_no_urls` needs none of these steps.
"""

from gateway.proxy.rewriting.pipeline import Rewriter, has_no_urls
from gateway.proxy.rewriting.plan import RewritePlan, make_plan
from gateway.proxy.rewriting.url_map import RequestContext, UrlMap

__all__ = ["RequestContext", "RewritePlan", "Rewriter", "UrlMap", "has_no_urls", "make_plan"]
