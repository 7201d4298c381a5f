"""A caller's UsernameToken is cut out of its SOAP message, however that is spelt; all else passes byte for byte."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.media_type import MAX_PART_HEAD, MAX_PARTS
from gateway.errors import BadRequest
from gateway.oic.soap_credentials import MAX_SEARCHED, SoapCredentialFilter, may_be_soap
from gateway.oic.ws_security import HEADER_LIMIT, MAX_BODY_TAG, MAX_ELEMENTS

S11, S12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
SECRET = "s3cr3t"
TOKEN = f"<w:UsernameToken><w:Username>anna</w:Username><w:Password>{SECRET}</w:Password></w:UsernameToken>"
OTHER = "<w:BinarySecurityToken>abc</w:BinarySecurityToken>"
STAMP = "<u:Timestamp xmlns:u='urn:u'><u:Created>2026-11-23T16:00:00Z</u:Created></u:Timestamp>"
BODY = "<s:Body><h:hello xmlns:h='urn:h'>Zoë &amp; co</h:hello></s:Body></s:Envelope>"
XML = b"text/xml; charset=utf-8"


def message(header: str, *, space: str = S11, body: str = BODY, start: str = "") -> str:
    """An envelope with this header's content; `w` is WSS there."""
    return f"{start}<s:Envelope xmlns:s='{space}'><s:Header xmlns:w='{WSSE}'>{header}</s:Header>{body}"


def security(content: str) -> str:
    return f"<w:Security s:mustUnderstand='1'>{content}</w:Security>"


def run(screen: SoapCredentialFilter, *pieces: bytes) -> bytes:
    """What passes of a body that comes in these pieces."""
    for at, piece in enumerate(pieces):
        if screen.feed(piece, last=at == len(pieces) - 1):
            rest = b"".join(pieces[at + 1 :])
            passed = b"".join(screen.output) + rest
            assert screen.removed == sum(map(len, pieces)) - len(passed)
            return passed
    raise AssertionError("never settled")


def passed(
    data: bytes | str, media: bytes | None = XML, *, soap_action: bool = False, coding: bytes | None = None
) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    whole = run(SoapCredentialFilter(media, soap_action=soap_action, coding=coding), data)
    pieces = [data[at : at + 7] for at in range(0, min(len(data), 4000), 7)] + [data[4004:]]
    assert run(SoapCredentialFilter(media, soap_action=soap_action, coding=coding), *pieces) == whole
    return whole


def refused(
    data: bytes | str, media: bytes | None = XML, *, soap_action: bool = False, coding: bytes | None = None
) -> str:
    data = data.encode() if isinstance(data, str) else data
    details = set()
    for pieces in ([data], [data[:1], data[1:]], [data[at : at + 999] for at in range(0, len(data), 999)]):
        with pytest.raises(BadRequest) as caught:
            run(SoapCredentialFilter(media, soap_action=soap_action, coding=coding), *pieces)
        details.add(caught.value.detail)
    return " | ".join(details)


# What is cut ----------------------------------------------------------------------------------------------------------

CUTS = {
    "a token alone": (security(TOKEN), ""),
    "blanks around it": (security(f"\n  {TOKEN}\n"), ""),
    "a token and a timestamp": (security(STAMP + TOKEN), ""),
    "a timestamp alone": (security(STAMP), security(STAMP)),
    "nothing of ours": (security(OTHER), security(OTHER)),
    "an empty header of the caller's": (security(""), security("")),
    "beside another token": (security(f"{TOKEN} {OTHER}"), security(f" {OTHER}")),
    "between others": (security(f"{STAMP}{TOKEN}{OTHER}"), security(f"{STAMP}{OTHER}")),
    "two tokens": (security(TOKEN + TOKEN), ""),
    "two tokens beside another": (security(TOKEN + OTHER + TOKEN), security(OTHER)),
    "two headers": (security(TOKEN) + "<x/>" + security(TOKEN + OTHER), "<x/>" + security(OTHER)),
    "an empty token": (security("<w:UsernameToken/>"), ""),
    "an empty token with attributes": (security("<w:UsernameToken a='/>' b = \"'>\" />"), ""),
    "an empty token beside another": (security(f"<w:UsernameToken />{OTHER}"), security(OTHER)),
    "deep in the header": (security(f"<x><y>{TOKEN}</y></x>"), security("<x><y></y></x>")),
    "a token in a token": (security(TOKEN.replace("anna", TOKEN)), ""),
    "a comment within": (security(TOKEN.replace("anna", "<!-- </w:UsernameToken> -->")), ""),
    "CDATA within": (security(TOKEN.replace(SECRET, "<![CDATA[</w:UsernameToken>s3cr3t]]>")), ""),
    "an instruction within": (security(TOKEN.replace(SECRET, "<?x </w:UsernameToken>?>s3cr3t")), ""),
    "a token in a comment": (
        security(f"{OTHER}<!--<w:UsernameToken>-->"),
        security(f"{OTHER}<!--<w:UsernameToken>-->"),
    ),
    "another prefix": (
        f"<q:Security xmlns:q='{WSSE}'><q:UsernameToken a='>'>{SECRET}</q:UsernameToken\n></q:Security\t>",
        "",
    ),
    "no prefix": (f"<Security xmlns='{WSSE}'><UsernameToken>{SECRET}</UsernameToken></Security>", ""),
    "a draft's namespace": (
        "<d:Security xmlns:d='http://schemas.xmlsoap.org/ws/2002/07/secext'><d:UsernameToken/></d:Security>",
        "",
    ),
    "a prefix of its own": (
        f"<w:Security><z:UsernameToken xmlns:z='{WSSE}'>{SECRET}</z:UsernameToken></w:Security>",
        "",
    ),
    "other headers": (
        f"<x:To xmlns:x='urn:x'>there</x:To>{security(TOKEN)}<y/>",
        "<x:To xmlns:x='urn:x'>there</x:To><y/>",
    ),
    "no security header": ("<x:To xmlns:x='urn:x'>there</x:To>", "<x:To xmlns:x='urn:x'>there</x:To>"),
    "in no security header": (f"<x/>{TOKEN}<Security/>", "<x/><Security/>"),
    "in a header of another name": (f"<w:security>{TOKEN}</w:security>", "<w:security></w:security>"),
    "text beyond ASCII": (f"<x>Zoë €</x>{security(TOKEN.replace('anna', 'Zoë €'))}<x>Ω</x>", "<x>Zoë €</x><x>Ω</x>"),
}


@pytest.mark.parametrize(("header", "left"), CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("space", [S11, S12, "http://www.w3.org/2001/12/soap-envelope"])
def test_the_token_is_cut_out_and_nothing_else(space: str, header: str, left: str) -> None:
    data = message(header, space=space)
    assert passed(data) == message(left, space=space).encode()
    assert passed(data, b"application/soap+xml") == message(left, space=space).encode()


CODINGS = "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-32-be cp037 cp500".split()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("media", [b"text/xml", b"text/xml; charset=utf-8", b"text/xml; charset=nonsense"])
def test_the_bytes_decide_the_charset(coding: str, media: bytes) -> None:
    start = '<?xml version="1.0" encoding="cp500"?>' if coding == "cp500" else '<?xml version="1.0"?>\n'
    header = f"<x>Zoé</x>{security(TOKEN.replace('anna', 'Zoë'))}<y/>"
    data = message(header, start=start).encode(coding)
    assert passed(data, media) == message("<x>Zoé</x><y/>", start=start).encode(coding)


@pytest.mark.parametrize(
    ("coding", "text"),
    [
        ("iso-8859-1", "Zoë"),
        ("ISO-8859-15", "€"),
        ("windows-1252", "„Zoë“ €"),
        ("Windows-1251", "Пароль"),
        ("koi8-r", "Пароль"),
        ("Shift_JIS", "表示ソ能"),
        ("windows-31j", "x"),
        ("EUC-JP", "表示"),
        ("GBK", "密码乗"),
        ("gb18030", "密码€"),
        ("Big5", "密碼功"),
        ("euc-kr", "암호"),
        ("us-ascii", "x"),
        ("utf-16", "x"),
    ],
)
@pytest.mark.parametrize("where", ["media", "declaration", "both", "against"])
def test_legacy_charsets_are_read_as_declared(coding: str, text: str, where: str) -> None:
    real = {"windows-31j": "ascii", "utf-16": "ascii"}.get(coding, coding)  # said, but not so
    other = "utf-16" if where == "against" else coding
    start = f"<?xml version='1.0' encoding='{other}' ?>" if where != "media" else ""
    media = f'text/xml;charset="{coding}"'.encode() if where != "declaration" else b"text/xml"
    header = f"<x>{text}</x>{security(TOKEN.replace('anna', text))}<x>{text}</x>"
    left = message(f"<x>{text}</x><x>{text}</x>", start=start, body=BODY.replace("Zoë", text))
    data = message(header, start=start, body=BODY.replace("Zoë", text)).encode(real)
    assert passed(data, media) == left.encode(real)


ODD = [
    ("windows-1252", b"\x81"),
    ("windows-1253", b"\xd2\xff"),
    ("iso-8859-8", b"\xa1\xfc"),
    ("gb2312", "镕".encode("gbk")),
    ("gbk", "€".encode("gb18030")),
    ("shift_jis", "①髙".encode("cp932")),
    ("euc-kr", "똠".encode("cp949")),
    ("big5", "€".encode("cp950")),
]


@pytest.mark.parametrize("soap_action", [True, False])
@pytest.mark.parametrize(("coding", "odd"), ODD, ids=[coding for coding, _ in ODD])
def test_charsets_are_read_as_wide_as_others_write_them(coding: str, odd: bytes, *, soap_action: bool) -> None:
    def data(header: str) -> bytes:
        whole = message(f"<x>*</x>{header}", body="<s:Body><x>*</x></s:Body></s:Envelope>")
        return whole.encode().replace(b"*", odd)

    media = f"text/xml; charset={coding}".encode()
    assert passed(data(security(TOKEN)), media, soap_action=soap_action) == data("")


@pytest.mark.parametrize("soap_action", [True, False])
@pytest.mark.parametrize("coding", ["gb2312", "shift_jis", "euc-kr", "big5", "euc-jp", "utf-16", "utf-8", "us-ascii"])
def test_bytes_behind_the_header_may_be_any(coding: str, *, soap_action: bool) -> None:
    rubbish = b"\xff\xff\xff" + bytes(range(256))
    media = f"text/xml; charset={coding}".encode()
    data = [message(header).encode(coding, "replace") + rubbish for header in (security(TOKEN), "")]
    assert passed(data[0], media, soap_action=soap_action) == data[1]
    head = f"Content-Type: {media.decode()}\r\n\r\n".encode()
    parts = [related(head + one, FILE) for one in data]
    assert passed(parts[0], RELATED, soap_action=soap_action) == parts[1]


@pytest.mark.parametrize("soap_action", [True, False])
@pytest.mark.parametrize("place", ["<x>*</x>", f"<x>*</x>{security(TOKEN)}", f"{security(TOKEN)}<x>*</x>"])
def test_bytes_in_the_header_that_are_no_text_are_refused(place: str, *, soap_action: bool) -> None:
    for coding in ("shift_jis", "big5", "euc-jp", "utf-8"):
        data = message(place).encode().replace(b"*", b"\x81\xff")
        word = "not XML" if coding == "utf-8" else "not text in"
        assert word in refused(data, f"text/xml; charset={coding}".encode(), soap_action=soap_action)


def test_an_ambiguous_stateful_encoding_is_rejected() -> None:
    media = b"text/xml;charset=iso-2022-jp"
    data = message(f"<x>表</x>{security(TOKEN)}", body="<s:Body/></s:Envelope>").encode("iso2022_jp")
    assert passed(data, media) == message("<x>表</x>", body="<s:Body/></s:Envelope>").encode("iso2022_jp")
    assert "unusual" in refused(data.replace(b"\x1b(B", b"\x1b(J\x1b(B", 1), media)


# What is looked at ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media", "soap_action", "expected"),
    [
        (b"text/xml", False, True),
        (b"application/soap+xml;charset=utf-8", False, True),
        (b"Application/XML", False, True),
        (b"application/vnd.x+xml", False, True),
        (b'multipart/related; type="text/xml"', False, True),
        (b"multipart/related; type=text/html", False, False),
        (b"multipart/related; boundary=x", False, True),
        (b'multipart/related; type="application/octet-stream"', False, True),
        (b'multipart/related; type="multipart/related"', False, True),
        (b"multipart/mixed; boundary=x", False, True),
        (b"multipart/mixed; type=application/json; boundary=x", False, False),
        (b"multipart/form-data; boundary=x", False, False),
        (b'multipart/form-data; boundary="----text/xml"', False, False),
        (b"multipart/form-data; boundary=xml", False, False),
        (b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", False, False),
        (b"application/octet-stream; name=a.xml", False, False),
        (b"text/xml charset=utf-8", False, True),
        (b"application/x-xml", False, True),
        (b"text/plain, application/soap+xml", False, True),
        (b"application/json", False, False),
        (b"application/json", True, False),
        (b"application/json, text/xml", False, True),
        (None, False, False),
        (None, True, True),
        (b"", False, False),
    ],
)
def test_only_what_may_be_soap_is_looked_at(media: bytes | None, *, soap_action: bool, expected: bool) -> None:
    assert may_be_soap(media, soap_action=soap_action, is_soap_route=False) is expected
    is_json = media == b"application/json"
    assert may_be_soap(media, soap_action=soap_action, is_soap_route=True) is not is_json


@pytest.mark.parametrize(
    "data",
    [
        "<order/>",
        "<order>" + security(TOKEN) + "</order",
        f"<Envelope><Header>{security(TOKEN)}</Header></Envelope>",
        f"<Envelope xmlns='urn:bank'><Header>{security(TOKEN)}</Header></Envelope>",
        f"<x:Order xmlns:x='{S11}'/>",
        "<!DOCTYPE order [<!ENTITY a 'b'>]><order>&a;</order>",
        "<!-- a comment --><order",
        "<order",
        "not xml",
        "{}",
        "",
        " ",
        "<\0",
        b"\xff\xfe<",
        b"<a>\xff</a>",
        b"<?xml version='1.0' encoding='none'?><a/>",
        b"L",
    ],
)
def test_other_xml_passes_as_it_is(data: str | bytes) -> None:
    raw = data.encode() if isinstance(data, str) else data
    assert passed(raw) == raw
    screen = SoapCredentialFilter(XML, soap_action=False)
    assert run(screen, raw) == raw
    assert (screen.removed, screen.namespace) == (0, "")


def test_other_xml_is_decided_by_its_root() -> None:
    screen = SoapCredentialFilter(XML, soap_action=False)
    assert screen.feed(b"<order><line>", last=False)
    assert screen.output == [b"<order><line>"]


def test_a_message_is_decided_at_its_body_and_not_copied() -> None:
    screen = SoapCredentialFilter(XML, soap_action=True)
    first, second = message("<x/>").encode().split(b"<s:Body>")
    assert not screen.feed(first, last=False)
    assert not screen.feed(b"", last=False)
    piece = b"<s:Body>" + second + b"not XML at all"
    assert screen.feed(piece, last=False)
    assert [id(part) for part in screen.output] == [id(first), id(piece)]
    assert (screen.removed, screen.namespace) == (0, S11)


@pytest.mark.parametrize(
    "body", ["<s:Body/></s:Envelope>", "</s:Envelope>", "<s:Fault/></s:Envelope>", f"<b:Body xmlns:b='{S11}'>"]
)
def test_any_end_of_the_header_will_do(body: str) -> None:
    assert passed(message(security(TOKEN), body=body)) == message("", body=body).encode()


def test_a_strangers_body_is_none() -> None:
    fake = f"<x:Body xmlns:x='urn:x'/><s:Header xmlns:w='{WSSE}'>"
    assert (
        passed(message("", body=f"{fake}{security(TOKEN)}</s:Header>{BODY}"))
        == message("", body=f"{fake}</s:Header>{BODY}").encode()
    )


@pytest.mark.parametrize("blank", [" ", "\r\n\r\n \t", " " * 5000])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_blanks_before_the_declaration_are_forgiven(blank: str, coding: str) -> None:
    start = f"{blank}<?xml version='1.0'?>"
    data = message(security(TOKEN) + "<x/>", start=start).encode(coding)
    assert passed(data) == message("<x/>", start=start).encode(coding)
    start = f"{blank[:9]}<?xml version='1.0' encoding='iso-8859-1'?>"
    data = message(f"<x>é</x>{security(TOKEN)}", start=start, body="<s:Body/>").encode("latin-1")
    assert passed(data, b"text/xml") == message("<x>é</x>", start=start, body="<s:Body/>").encode("latin-1")


@pytest.mark.parametrize("data", ["", "<order/>", "<order attribute='&quot;'>"])
def test_declared_soap_with_another_root_has_no_header(data: str) -> None:
    assert passed(data, None, soap_action=True) == data.encode()
    assert passed(data, b"application/soap+xml") == data.encode()


def test_an_envelope_without_namespace_counts_in_declared_soap() -> None:
    bare = f"<Envelope><Header><Security><UsernameToken>{SECRET}</UsernameToken></Security></Header><Body/></Envelope>"
    left = "<Envelope><Header></Header><Body/></Envelope>"
    assert passed(bare, None, soap_action=True) == left.encode()


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("not xml", "not XML"),
        ("{}", "not XML"),
        (" ", "not XML"),
        ("<", "not XML"),
        (message(security(TOKEN))[:300], "not XML"),
        (message("<x>"), "not XML"),
        (message("&secret;"), "not XML"),
        (message("\0"), "not XML"),
        (message(security(TOKEN)).replace("xmlns:s", "xmlns:s='' xmlns:s"), "not XML"),
        (message(security(TOKEN), start="<!DOCTYPE x>"), "DOCTYPE"),
        (message(security(TOKEN), start="<!DOCTYPE s:Envelope [<!ENTITY t 'x'>]>"), "DOCTYPE"),
        (message(security(TOKEN)).encode("utf-16")[:-200], "not XML"),
        (b"\xff\xfe" + message("x").encode("utf-16-le")[:200] + b"\0\xd8\0\xd8" * 2, "not text in utf-16-le"),
    ],
)
def test_soap_that_cannot_be_read_goes_nowhere(data: str | bytes, word: str) -> None:
    details = refused(data, b"application/soap+xml")
    assert word in details
    assert SECRET not in details
    if data[:1] == "<":
        assert word in refused(data, None, soap_action=True)


OTHER_BODIES = {
    "CSV": b"order;item\n1;valve\n",
    "CSV that begins like EBCDIC": b"Lastname,Name\nDoe,Ann\n",
    "CSV in Latin-1": "Länge;Lübeck\n1;2\n".encode("latin-1"),
    "CSV in UTF-8 with a mark": "\ufeffLübeck;Länge\n".encode(),
    "CSV in UTF-16": "item;price\n".encode("utf-16"),
    "CSV in EBCDIC": "item;price\n".encode("cp037"),
    "at signs": b"@@@@ @@@@",
    "a form": b"item=valve&quantity=3&note=%3Cx%3E",
    "a zip": b"PK\x03\x04\x14\0\0\0\x08\0<s:Envelope>",
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "parts": b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n<x>\r\n--b--\r\n',
    "zeros": b"\0\0\0\0\0\1\2\3",
    "half a surrogate": b"\xff\xfe\0\xd8\0\xd8\0\xd8",
    "blanks": b" \r\n \t",
    "text before an envelope": b"x" + message("").encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("data", OTHER_BODIES.values(), ids=OTHER_BODIES)
@pytest.mark.parametrize("media", [b"text/csv; charset=utf-8", b"multipart/form-data; boundary=text/xml", b"", None])
def test_a_body_without_markup_passes_beside_a_soap_action(data: bytes, media: bytes | None) -> None:
    assert passed(data, media, soap_action=True) == data
    screen = SoapCredentialFilter(media, soap_action=True)
    start = data[:80]
    if start.strip(b" \t\r\n\0@"):
        assert screen.feed(start + b" or so" * 40, last=False)  # it streams
    if media is not None and b"UsernameToken" not in data:
        assert passed(data, b"text/xml", soap_action=True) == data


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be", "cp037", "cp1140"])
@pytest.mark.parametrize(
    "start", ["", "<?xml version='1.0'?>", "<!-- one -->", "<!DOCTYPE", " \n\t", "  <?xml version='1.0'?>"]
)
@pytest.mark.parametrize("media", [b"text/plain", b"application/json, text/csv", None])
def test_a_token_is_cut_with_a_soap_action_of_any_type(coding: str, start: str, media: bytes | None) -> None:
    data, clean = (message(header, start=start).encode(coding) for header in (security(TOKEN), ""))
    if start == "<!DOCTYPE":
        data = message(security(TOKEN), start="<!DOCTYPE x>").encode(coding)
        assert "DOCTYPE" in refused(data, media, soap_action=True)
    else:
        assert passed(data, media, soap_action=True) == clean


@pytest.mark.parametrize(
    "part",
    [
        b"Content-Type: text/csv\r\n\r\na;b\r\n",
        b"Content-Type: application/json\r\n\r\n{}",
        b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA",
    ],
)
def test_parts_of_other_types_pass_beside_a_soap_action(part: bytes) -> None:
    for media in (b"multipart/mixed; boundary=b-1", b"multipart/related; boundary=b-1"):
        assert passed(related(part, FILE), media, soap_action=True) == related(part, FILE)


@pytest.mark.parametrize("start", ["<!DOCTYPE x>", "<!DOCTYPE x [<!ENTITY n 'urn:x'>]>"])
def test_a_doctype_is_refused_before_any_envelope(start: str) -> None:
    assert "DOCTYPE" in refused(message(security(TOKEN), start=start))
    assert "DOCTYPE" in refused(message(security(TOKEN), start=start, space="urn:x"))
    if "ENTITY" in start:
        assert "DOCTYPE" in refused(message(security(TOKEN), start=start, space="&n;"))


def test_a_truncated_envelope_is_always_rejected() -> None:
    whole = message(security(TOKEN))
    for end in range(whole.index(">") + 1, whole.index("<s:Body>") + 7):
        with pytest.raises(BadRequest):
            run(SoapCredentialFilter(XML, soap_action=False), whole[:end].encode())


def test_a_header_has_its_limit() -> None:
    empty = len(message("<x></x>").partition("<s:Body>")[0])
    most = message("<x>" + "y" * (HEADER_LIMIT - empty) + "</x>")
    assert passed(most) == most.encode()
    assert "larger than 256 KiB" in refused(most.replace("yy", "yyy", 1))
    assert "larger than 256 KiB" in refused(message(f"<x a='{'y' * MAX_SEARCHED}'/>"))
    assert "larger than 256 KiB" in refused(message(f"<!--{'y' * MAX_SEARCHED}-->"), b"application/soap+xml")
    most = most.replace("y" * 100, "", 1)
    assert passed(most.encode("utf-16")) == most.encode("utf-16")


def test_a_header_too_large_is_refused_before_its_end() -> None:
    screen = SoapCredentialFilter(XML, soap_action=True)
    data = message("<x>" + "y" * MAX_SEARCHED).encode()
    assert not screen.feed(data[:HEADER_LIMIT], last=False)
    with pytest.raises(BadRequest, match="larger than 256 KiB"):
        screen.feed(data[HEADER_LIMIT : HEADER_LIMIT + MAX_BODY_TAG], last=False)


# What is not read as XML, and may be SOAP to others -------------------------------------------------------------------

STRANGE = {
    "NEL before the root": "<?xml version='1.1'?>\x85" + message(security(TOKEN)),
    "an astral prefix": message(security(TOKEN)).replace("s:", "\U00010000:").replace("xmln\U00010000:", "xmlns:"),
    "something before": "x" + message(security(TOKEN)),
    "much before": "x" * 100_000 + message(security(TOKEN)),
    "a form": "message=" + message(security(TOKEN)),
}


@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-32-be"])
@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE)
def test_what_cannot_be_read_must_not_have_the_word(data: str, coding: str) -> None:
    for media in (XML, b"text/plain", b"", None):
        assert "UsernameToken" in refused(data.encode(coding), media)
    without = data.replace("UsernameToken", "Username").encode(coding)
    assert passed(without) == without
    packed = gzip.compress(without)
    assert passed(packed, coding=b"gzip") == packed
    assert "UsernameToken" in refused(gzip.compress(data.encode(coding)), coding=b"gzip")


def test_the_word_is_found_in_ebcdic() -> None:
    assert "UsernameToken" in refused(("x" + message(security(TOKEN))).encode("cp037"))


def test_what_cannot_be_read_is_held_no_longer_than_a_header() -> None:
    screen = SoapCredentialFilter(b"text/plain", soap_action=False)
    assert not screen.feed(b"x" * MAX_SEARCHED, last=False)
    assert screen.feed(b"UsernameToken", last=False)
    assert b"".join(screen.output) == b"x" * MAX_SEARCHED + b"UsernameToken"


@pytest.mark.parametrize("media", [XML, b"application/soap+xml"])
def test_a_header_behind_the_searched_body_is_rejected(media: bytes) -> None:
    behind = f"<s:Header>{security(TOKEN)}</s:Header></s:Envelope>".replace("w:", "")
    for body in ("<s:Body/>", "<s:Body><a/><!-- > --><b>c</b></s:Body>"):
        assert "behind its Body" in _at_once(message(security(TOKEN), body=body + behind), media)
        assert "behind its Body" in _at_once(f"<s:Envelope xmlns:s='{S11}'>{body}{behind}", media)
    # The word may stand in a Body, and so may a Header.
    within = f"<s:Body><Header>{security(TOKEN).replace('w:', '')}</Header></s:Body></s:Envelope>"
    assert passed(message(security(TOKEN), body=within), media) == message("", body=within).encode()


def _at_once(data: str, media: bytes) -> str:
    with pytest.raises(BadRequest) as caught:
        run(SoapCredentialFilter(media, soap_action=False), data.encode())
    return caught.value.detail


# What costs more than its bytes ---------------------------------------------------------------------------------------


def test_elements_before_the_body_are_counted() -> None:
    fake = "<Body/>" * (MAX_ELEMENTS - 2)  # beside Envelope and Header; the Body itself counts too
    data = message("", body=fake + BODY)
    assert "elements" in refused(data)
    data = data.replace("<Body/>", "", 1)
    assert passed(data) == data.encode()
    endless = SoapCredentialFilter(XML, soap_action=True)
    start = message("<x a=''>" + "<y/>" * MAX_ELEMENTS).partition("</s:Header>")[0].encode()
    with pytest.raises(BadRequest, match="elements"):
        endless.feed(start, last=False)


def test_a_parts_head_has_its_limit_folded_or_not() -> None:
    for line in (b" \n", b"a: b\n", b"x"):
        screen = SoapCredentialFilter(RELATED, soap_action=False)
        assert not screen.feed(b"--b-1\r\nContent-Type: text/xml\r\n", last=False)
        with pytest.raises(BadRequest, match="larger than 8 KiB"):
            screen.feed(line * (MAX_PART_HEAD // len(line) + 1), last=False)
    head = "Content-Type: text/xml\r\nX: " + "\r\n ".join("x" * 1000 for _ in range(8)) + "\r\n"
    assert passed(related(root(security(TOKEN), head=head)), RELATED) == related(root("", head=head))


def test_the_root_is_among_the_first_parts() -> None:
    media = RELATED + b'; start="<root@x>"'
    few = [b"\r\n"] * (MAX_PARTS - 1)
    assert passed(related(*few, root(security(TOKEN))), media) == related(*few, root(""))
    screen = SoapCredentialFilter(media, soap_action=False)
    with pytest.raises(BadRequest, match="among the first"):
        screen.feed(related(*few, b"\r\n", b"\r\n"), last=False)


# Many bytes at a time, or few -----------------------------------------------------------------------------------------


@given(
    cuts=st.lists(st.integers(1, 90)),
    header=st.sampled_from([header for header, _ in CUTS.values()]),
    coding=st.sampled_from(["utf-8", "utf-16", "cp037", "shift_jis"]),
)
def test_any_splitting_gives_the_same(cuts: list[int], header: str, coding: str) -> None:
    start = "<?xml version='1.0' encoding='shift_jis'?>" if coding == "shift_jis" else ""
    data = message(header, start=start).encode(coding, "xmlcharrefreplace")
    whole = run(SoapCredentialFilter(b"text/xml", soap_action=False), data)
    pieces = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    assert run(SoapCredentialFilter(b"text/xml", soap_action=False), *pieces, data) == whole


def test_a_header_byte_by_byte_costs_no_square_of_its_length() -> None:
    screen = SoapCredentialFilter(XML, soap_action=False)
    data = message(f"<x a='{'y' * 200_000}'/>").encode()
    results = [screen.feed(data[at : at + 1], last=at + 1 == len(data)) for at in range(len(data) - 40)]
    assert not any(results[:200_000])


@pytest.mark.parametrize("media", [XML, b"application/octet-stream"])
def test_a_held_body_in_tiny_pieces_needs_little_memory(media: bytes) -> None:
    data = message(f"<x a='{'y' * 60_000}").encode()
    screen = SoapCredentialFilter(media, soap_action=True, is_soap_route=True)
    tracemalloc.start()
    try:
        for at in range(0, len(data), 2):
            assert not screen.feed(data[at : at + 2], last=False)
        memory = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert memory < 6 * len(data)


# With attachments -----------------------------------------------------------------------------------------------------

RELATED = b'Multipart/Related; boundary="b-1"; type="text/xml"'
PART = "Content-Type: text/xml; charset=UTF-8\r\nContent-ID: <root@x>\r\n"
FILE = b"Content-Type: application/octet-stream\r\nContent-ID: <file@x>\r\n\r\n<s:Envelope>\0\xff\r\n--b-\r\n"


def related(*parts: bytes, line: bytes = b"\r\n") -> bytes:
    """A multipart body of these parts, each with its head."""
    return b"".join((b"--b-1" + line + part + line) for part in parts) + b"--b-1--" + line


def root(header: str, *, head: str = PART, coding: str = "utf-8") -> bytes:
    return f"{head}\r\n".encode() + message(header).encode(coding)


@pytest.mark.parametrize(
    ("media", "parts"),
    [
        ("", "R F"),
        ("; start='x'".replace("'x'", '"<root@x>"'), "R F"),
        ('; start="<root@x>"', "F R"),
        ("; start=root@x", "F F R"),
    ],
)
def test_the_root_part_is_found(media: str, parts: str) -> None:
    def body(header: str) -> bytes:
        return b"a preamble\r\n" + related(*({"R": root(header), "F": FILE}[part] for part in parts.split()))

    assert passed(body(security(TOKEN)), RELATED + media.encode()) == body("")
    assert passed(body(security(OTHER)), RELATED + media.encode()) == body(security(OTHER))


@pytest.mark.parametrize(
    "head",
    [
        "",
        "Content-Transfer-Encoding: 8bit\r\n",
        "content-type:\r\n text/xml\r\ncontent-transfer-encoding: Binary\r\n",
        'Content-Type: application/xop+xml; charset=utf-8; type="application/soap+xml"\r\n',
    ],
)
def test_any_head_of_the_root_that_is_xml(head: str) -> None:
    media = b"multipart/related;boundary=b-1"
    assert passed(related(root(security(TOKEN), head=head)), media) == related(root("", head=head))


def test_the_roots_own_charset_and_length_are_kept_right() -> None:
    def body(header: str) -> bytes:
        head = f"Content-Type: text/xml; charset=utf-16\r\nContent-Length: {len(message(header).encode('utf-16'))}\r\n"
        return related(root(header, head=head, coding="utf-16"), FILE)

    assert passed(body(security(TOKEN)), RELATED) == body("")


def test_lines_may_end_in_a_line_feed_alone() -> None:
    body = [related(root(header).replace(b"\r\n", b"\n"), line=b"\n") for header in (security(TOKEN), "")]
    assert passed(body[0], RELATED) == body[1]


@pytest.mark.parametrize("content_length", ["\r\n {}", "1\r\n {}", "0" * 5000 + "{}", "{} ", "-{}", "{}, {}", '"{}"'])
def test_only_a_plain_length_can_be_kept_right(content_length: str) -> None:
    def body(header: str) -> bytes:
        length = content_length.replace("{}", str(len(message(header).encode())))
        return related(root(header, head=f"{PART}Content-Length: {length}\r\n"), FILE)

    assert passed(body(""), RELATED) == body("")
    if content_length == "{} ":
        assert passed(body(security(TOKEN)), RELATED) == body("")
    else:
        assert "not a plain number" in refused(body(security(TOKEN)), RELATED)


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (RELATED, b"Content-Type: application/octet-stream\r\n\r\n"),
        (RELATED, b"Content-Type: text/plain\r\n\r\n"),
        (RELATED, b"Content-Type: multipart/related; boundary=c\r\n\r\n--c\r\nContent-Type: text/xml\r\n\r\n"),
        (b"multipart/mixed; boundary=b-1", b"Content-Type: image/png\r\n\r\n"),
        (b"multipart/mixed; boundary=other", b"Content-Type: text/xml\r\n\r\n"),
        (b"multipart/form-data; boundary=b-1", b"Content-Disposition: form-data; name=x\r\n\r\nx"),
    ],
)
def test_an_undeclared_root_must_not_contain_the_word(media: bytes, part: bytes) -> None:
    assert "UsernameToken" in refused(related(part + message(security(TOKEN)).encode()), media)
    clean = related(part + message("").encode())
    assert passed(clean, media) == clean


def test_mixed_parts_have_their_root_too() -> None:
    media = b"multipart/mixed; boundary=b-1"
    assert passed(related(root(security(TOKEN)), FILE), media) == related(root(""), FILE)
    screen = SoapCredentialFilter(media, soap_action=False)
    data = related(b"Content-Type: application/json\r\n\r\n{}", FILE)
    assert screen.feed(data[:60], last=False)  # JSON is none, and streams


def test_a_parameter_with_two_values_is_ignored() -> None:
    data = related(root(security(TOKEN)))
    assert "not found" in refused(data, RELATED + b"; boundary=c")
    assert passed(data, RELATED + b"; boundary=b-1") == related(root(""))
    assert "two of content-type" in refused(related(root("", head=PART + "content-type: text/plain\r\n")), RELATED)
    latin = message(f"<x>é</x>{security(TOKEN)}", body="<s:Body/>").encode("latin-1")
    assert "not XML" in refused(latin, b"text/xml; charset=latin-1; charset=utf-7")


@pytest.mark.parametrize(
    ("data", "media", "word"),
    [
        (related(root(security(TOKEN), head=f"{PART}Content-Transfer-Encoding: base64\r\n")), RELATED, "Transfer-Enc"),
        (related(root("", head=f"{PART}Content-Transfer-Encoding: Quoted-Printable\r\n")), RELATED, "Transfer-Enc"),
        (related(root(security(TOKEN))), RELATED + b"; start=other", "not found"),
        (related(root(security(TOKEN))), b"multipart/related; type=text/xml", "not found"),
        (related(root(security(TOKEN))), b"multipart/related; type=text/xml; boundary=other", "not found"),
        (related(), b"multipart/related; boundary=b-1", "not found"),
        (
            related(b"Content-Type: text/xml\r\n\r\n<s:Env"),
            RELATED.replace(b"text/xml", b"application/soap+xml"),
            "not XML",
        ),
        (FILE * (MAX_SEARCHED // len(FILE) + 1), RELATED, "256 KiB"),
    ],
)
def test_a_root_that_cannot_be_read_goes_nowhere(data: bytes, media: bytes, word: str) -> None:
    assert word in refused(data, media)


@pytest.mark.parametrize(
    ("data", "media"),
    [
        (related(b"Content-Type: text/html\r\n\r\n<html>"), b"multipart/related; boundary=b-1"),
        (related(b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA"), RELATED),
        (related(b"Content-Type: text/xml\r\n\r\n<order/>"), RELATED),
        (b"", RELATED),
    ],
)
def test_parts_that_are_no_soap_pass_as_they_are(data: bytes, media: bytes) -> None:
    assert passed(data, media) == data


# Compressed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [b"gzip", b"X-GZIP", b"deflate"])
def test_a_compressed_message_passes_only_without_a_token(coding: bytes) -> None:
    pack = zlib.compress if coding == b"deflate" else gzip.compress
    for media in (XML, b"application/soap+xml"):
        clean = pack(message(security(OTHER)).encode())
        assert passed(clean, media, coding=coding) == clean
        assert "Content-Encoding" in refused(pack(message(security(TOKEN)).encode()), media, coding=coding)


def test_compressed_bytes_that_are_not_are_refused() -> None:
    for data in (b"<order/>", gzip.compress(message("").encode())[:40]):
        assert refused(data, b"application/soap+xml", coding=b"gzip")
    assert "coding is not known" in refused(b"<order/>", coding=b"br")
    assert passed(message(security(TOKEN)), coding=b"identity") == message("").encode()


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(message("<x>" + " " * 50_000_000).encode(), 9)
    assert len(bomb) < MAX_SEARCHED
    assert "256 KiB" in refused(bomb, coding=b"gzip")


@pytest.mark.parametrize("soap_action", [True, False])
@pytest.mark.parametrize("place", [0, 1, 8, 100, -1])
def test_all_members_of_a_gzip_body_are_one_text(place: int, *, soap_action: bool) -> None:
    def packed(header: str) -> bytes:
        data = message(header).encode()
        return gzip.compress(data[:place]) + gzip.compress(b"") + gzip.compress(data[place:])

    clean = packed("<x/>")
    assert passed(clean, soap_action=soap_action, coding=b"gzip") == clean
    assert "Content-Encoding" in refused(packed(security(TOKEN)), soap_action=soap_action, coding=b"gzip")


def test_only_gzip_members_may_follow_the_end_of_a_coding() -> None:
    data = message("").encode()
    for coding, empty in ((b"gzip", gzip.compress(b"")), (b"deflate", zlib.compress(b""))):
        word = "broken" if coding == b"gzip" else "follows the end"
        assert word in refused(empty + data, coding=coding)
    members = gzip.compress(b"") * 1000 + b"\0" * 10
    assert passed(members + gzip.compress(data), coding=b"gzip") == members + gzip.compress(data)
    assert "Content-Encoding" in refused(members + gzip.compress(message(security(TOKEN)).encode()), coding=b"gzip")
