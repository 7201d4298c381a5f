"""The command `completion`: print a script that completes commands, options and files in bash or zsh.

The script is generated from the parsers, so that it has every option.
"""

import argparse
import sys
from collections.abc import Iterator

from gateway.cli.commands import COMMANDS, actions_of, make_parser

EXAMPLE = 'eval "$(oic-gateway completion bash)"'
EXIT_STATUS: dict[int, str] = {}

_PATHS = ("FILE", "DIR")
_ZSH_ESCAPES = str.maketrans({"[": "\\[", "]": "\\]", ":": "\\:"})
_BASH = """\
_oic_gateway() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  COMPREPLY=()
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W "{commands} help version" -- "$current"))
    return
  fi
  case "${{COMP_WORDS[1]}} $previous" in
{values}
  esac
  case "${{COMP_WORDS[1]}}" in
{options}
  esac
  if [[ $current != -* ]]; then
    COMPREPLY+=($(compgen -f -- "$current"))
  fi
}}
complete -o filenames -F _oic_gateway oic-gateway
"""
_ZSH = """\
#compdef oic-gateway
_oic_gateway() {{
  if (( CURRENT == 2 )); then
    local -a commands=(
{commands}
      'help:show the options of a command'
      'version:show the version'
    )
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{options}
    help) _values command {names} ;;
  esac
}}
if [[ $funcstack[1] == _oic_gateway ]]; then
  _oic_gateway "$@"
else
  compdef _oic_gateway oic-gateway
fi
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh"), help="bash or zsh")


def run(options: argparse.Namespace) -> int:
    """Print the script. Return 0."""
    sys.stdout.write(bash_script() if options.shell == "bash" else zsh_script())
    return 0


def bash_script() -> str:
    """Return the completion script for bash."""
    values: list[str] = []
    options: list[str] = []
    for name in COMMANDS:
        actions = actions_of(make_parser(name))
        words = [flag for action in actions for flag in action.option_strings]
        words += [choice for action in actions if not action.option_strings for choice in _choices(action)]
        options.append(f'    {name}) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$current")) ;;')
        values += _bash_values(name, actions)
    options.append(f'    help) COMPREPLY=($(compgen -W "{" ".join(COMMANDS)}" -- "$current")); return ;;')
    return _BASH.format(commands=" ".join(COMMANDS), values="\n".join(values), options="\n".join(options))


def zsh_script() -> str:
    """Return the completion script for zsh."""
    return _ZSH.format(
        commands="\n".join(f"      {_quote(f'{name}:{command.summary}')}" for name, command in COMMANDS.items()),
        options="\n".join(f"    {name}) _arguments {_zsh_arguments(name)} ;;" for name in COMMANDS),
        names=" ".join(COMMANDS),
    )


def _bash_values(name: str, actions: list[argparse.Action]) -> Iterator[str]:
    """Yield how the value after an option is completed: a choice, a file, or nothing."""
    for action in actions:
        if not action.option_strings or action.nargs == 0:
            continue
        pattern = "|".join(f'"{name} {flag}"' for flag in action.option_strings)
        if choices := _choices(action):
            yield f'    {pattern}) COMPREPLY=($(compgen -W "{" ".join(choices)}" -- "$current")); return ;;'
        elif action.metavar in _PATHS:
            yield f'    {pattern}) COMPREPLY=($(compgen -f -- "$current")); return ;;'
        else:
            yield f"    {pattern}) return ;;"


def _zsh_arguments(name: str) -> str:
    specs = []
    for action in actions_of(make_parser(name)):
        metavar = action.metavar if isinstance(action.metavar, str) else action.dest
        values = f"({' '.join(_choices(action))})" if _choices(action) else "_files" if metavar in _PATHS else " "
        value = "" if action.nargs == 0 else f":{metavar}:{values}"
        text = (action.help or "").translate(_ZSH_ESCAPES)
        specs += [_quote(f"*{flag}[{text}]{value}") for flag in action.option_strings] or [_quote(f":{value}")]
    return " ".join(specs)


def _choices(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
