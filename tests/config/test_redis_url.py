"""URLs of Redis: all forms, and errors that do not quote the URL."""

import pytest

from gateway.config.redis_url import RedisUrl, parse_redis_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisUrl((("cache", 6379),))),
        ("redis://cache:7000/3", RedisUrl((("cache", 7000),), db=3)),
        ("rediss://[::1]/", RedisUrl((("::1", 6379),), is_tls=True)),
        ("rediss://[::1]:7000", RedisUrl((("::1", 7000),), is_tls=True)),
        ("unix:/run/redis.sock", RedisUrl(path="/run/redis.sock")),
        ("unix:///run/redis.sock?db=2", RedisUrl(path="/run/redis.sock", db=2)),
        ("redis+sentinel://a,b:7000/main", RedisUrl((("a", 26379), ("b", 7000)), service="main")),
        ("rediss+sentinel://a/main/4", RedisUrl((("a", 26379),), service="main", is_tls=True, db=4)),
        ("redis+cluster://a,10.0.0.1:7000", RedisUrl((("a", 6379), ("10.0.0.1", 7000)), is_cluster=True)),
        ("rediss+cluster://a/", RedisUrl((("a", 6379),), is_cluster=True, is_tls=True)),
    ],
)
def test_every_url_form_is_parsed(url: str, expected: RedisUrl) -> None:
    assert parse_redis_url(url) == expected


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://secret-host", "is not a URL of Redis"),
        ("redis://", "is not a URL of Redis"),
        ("redis://secret-host?db=1", "is not a URL of Redis"),
        ("redis:// secret-host", "is not a URL of Redis"),
        ("unix:secret", "is not a URL of Redis"),
        ("redis://me:secret@host", "must not contain a user or password"),
        ("unix:/run/s?password=secret@x", "must not contain a user or password"),
        ("redis://secret,host", "names several hosts"),
        ("redis://secret:0", "has an invalid host"),
        ("redis://secret:99999", "has an invalid host"),
        ("redis+cluster://secret,,host", "has an invalid host"),
        ("redis://host/secret", "has no database number"),
        ("redis+sentinel://secret", "names no service"),
        ("redis+sentinel://host/main/secret", "names no service"),
        ("redis+cluster://secret/1", "has a path"),
    ],
)
def test_error_does_not_quote_the_url(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        parse_redis_url(url)
    assert "secret" not in str(caught.value)
    assert "; " in str(caught.value)
