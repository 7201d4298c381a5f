"""Pure: URLs of OIC in the gateway's own names, in a reply's head and in its body. Bytes in, bytes out.

`names` knows the upstreams of all routes and gives one URL its name, as one request's `Here` sees the gateway: that is
all a head needs. A body that can be read has a plan (`plans`), and a `rewriter` that leads it through:

    codings        gzip and deflate off, in pieces of bounded size
    charsets       which character set it is; UTF-16, UTF-32 and EBCDIC into UTF-8 and back
    descriptions   Swagger's host, basePath and schemes, which only together are an address
    scanning       every URL, found and settled within a window: any chunking gives the same output
      dialects     how JSON, XML and YAML spell one (`spelling`: what a dialect is)
      places       where one stands: a member's value, an attribute (`markup`); or a name, a namespace, which stay
      shortcuts    the commonest ones at a fifth of the price

Only scheme, authority and the upstream's path are replaced, spelt as they were; all other bytes stay as they are. A
whole body of JSON that `is_clear` needs none of it.
"""

from gateway.proxy.rewriting.pipeline import Rewriter, has_no_urls
from gateway.proxy.rewriting.plan import RewritePlan, make_plan
from gateway.proxy.rewriting.url_map import RequestContext, UrlMap

__all__ = ["RequestContext", "RewritePlan", "Rewriter", "UrlMap", "has_no_urls", "make_plan"]
