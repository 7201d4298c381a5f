"""The command `rotate`: the identity domain issues a new client secret, and the file of the old one gets it."""

import argparse

from gateway.cli.options import (
    add_config_arguments,
    add_credential_argument,
    credential_name,
    exit_config_error,
    print_finding,
    read_configuration,
    run_coroutine,
)

EXAMPLE = "oic-gateway rotate orders-app gateway.yaml"
EXIT_STATUS = {
    0: "the new secret is in the file and works",
    69: "not rotated, or not written; standard error contains the cause, and where the secret is",
    78: "the configuration is wrong, the secret is not in a file, or others use it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_credential_argument(parser)
    add_config_arguments(parser)
    parser.add_argument(
        "--by",
        metavar="CREDENTIAL",
        default="",
        help="credential whose application may administer the identity domain; default: NAME",
    )
    parser.add_argument(
        "--cut-off-others",
        action="store_true",
        help="rotate although credentials of other included files use the same client: they keep the old secret",
    )


def run(options: argparse.Namespace) -> int:
    """Rotate the client secret. Return 0, or 69 if it fails. Raise ConfigProblems, and SystemExit if the secret cannot
    be rotated.
    """
    from gateway.network.aiohttp_import import import_aiohttp  # noqa: PLC0415

    import_aiohttp()
    # They bring aiohttp.
    from gateway.rotation.rotate_secret import rotate_secret  # noqa: PLC0415
    from gateway.rotation.rotation_plan import CannotRotate, plan_rotation  # noqa: PLC0415

    loaded = read_configuration(options).read()
    config = loaded.config
    try:
        plan = plan_rotation(
            config,
            credential_name(options, config),
            scopes=loaded.credential_scopes,
            administrator=options.by,
            may_cut_off=options.cut_off_others,
        )
    except CannotRotate as problem:
        exit_config_error(str(problem))
    return print_finding(run_coroutine(rotate_secret(config, plan)), options)
