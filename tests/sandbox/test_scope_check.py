import pytest

from gateway.sandbox.scope_check import API, AUDIENCE, OTHER_AUDIENCE, TRIGGER, InvalidScope, check_scope

ONE = AUDIENCE + TRIGGER
OTHER = OTHER_AUDIENCE + TRIGGER
MULTIPLE = "urn:opc:resource:multiresourcescope"


def test_one_resource() -> None:
    granted = check_scope(ONE)
    assert (granted.resources, granted.expiry, granted.is_multiple) == ({AUDIENCE: (TRIGGER,)}, None, False)


def test_two_permissions_of_one_resource() -> None:
    assert check_scope(f"{ONE} {AUDIENCE}{API}").resources == {AUDIENCE: (TRIGGER, API)}


def test_several_resources_need_the_directive() -> None:
    granted = check_scope(f"{ONE} {OTHER} {MULTIPLE}")
    assert list(granted.resources) == [AUDIENCE, OTHER_AUDIENCE]
    assert granted.is_multiple


def test_the_bare_permission_alone_names_every_resource() -> None:
    assert list(check_scope(TRIGGER).resources) == [AUDIENCE, OTHER_AUDIENCE]


def test_expiry_and_offline_access_are_directives() -> None:
    assert check_scope(f"{ONE} urn:opc:resource:expiry=60 offline_access").expiry == 60


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "offline_access",
        f"{AUDIENCE}/{TRIGGER}",
        f"{AUDIENCE.removesuffix(':443')}{TRIGGER}",
        AUDIENCE,
        f"https://UNKNOWN.integration.ocp.oraclecloud.com:443{TRIGGER}",
        f"{ONE} {OTHER}",
        f"{TRIGGER} {ONE}",
        f"{TRIGGER} openid",
        f"{ONE} openid",
        f"{ONE} urn:opc:resource:expiry=0",
        f"{ONE} urn:opc:resource:expiry=soon",
        f"{ONE} urn:opc:resource:expiry={'9' * 5000}",
        f"{ONE} urn:opc:resource:expiry=60 urn:opc:resource:expiry=61",
    ],
)
def test_what_a_real_domain_refuses(scope: str) -> None:
    with pytest.raises(InvalidScope):
        check_scope(scope)


def test_a_client_gets_only_its_own_scopes() -> None:
    assert check_scope(ONE, {ONE}).resources
    with pytest.raises(InvalidScope):
        check_scope(OTHER, {ONE})
