"""Import a `function_app.py` and read what it declares, as typed values.

The app is found as Microsoft's worker finds it: the module `function_app` at the root of the project, and in
it the one object that is a `FunctionApp`. What azure-functions then tells about a function is a dictionary in the
form of function.json; it is taken apart here, so that no other module handles untyped dictionaries. An app that
can't be served as it is written is refused here, with the function's name, before anything listens.
"""

import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import azure.functions as func
from azure.functions.decorators.utils import StringifyEnumJsonEncoder

from tools.local.host.errors import HostError
from tools.local.host.hostjson import parse_timespan
from tools.local.host.retry import RetryPolicy, parse_retry_policy

MODULE = "function_app"
HTTP_TRIGGER = "httpTrigger"
SERVICE_BUS_OUTPUT = "serviceBus"
"""The one kind of output, beside the answer of HTTP, that this host supplies."""

RETURNED = "$return"
"""The name of a binding that takes what the function returns."""

Level = Literal["anonymous", "function", "admin"]
_LEVELS: Mapping[str, Level] = {"anonymous": "anonymous", "function": "function", "admin": "admin"}


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding as function.json would hold it; `settings` are its members beyond name, type and direction."""

    name: str
    kind: str
    direction: str
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class HttpBinding:
    """What an HTTP trigger says: `methods` are upper case, None for all; `route` is without the prefix."""

    parameter: str
    route: str
    methods: frozenset[str] | None
    level: Level


@dataclass(frozen=True, slots=True)
class LoadedFunction:
    """One function: how to call it, and what sets it off. `http` is set exactly for HTTP functions."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    wants_context: bool
    directory: Path
    trigger: Binding
    bindings: tuple[Binding, ...]
    http: HttpBinding | None
    retry: RetryPolicy | None
    disabled: bool

    @property
    def outputs(self) -> tuple[Binding, ...]:
        """What it sends through bindings. One named $return takes what the function returns."""
        return tuple(
            each for each in self.bindings if each.kind == SERVICE_BUS_OUTPUT and each.direction == "out"
        )


@dataclass(frozen=True, slots=True)
class LoadedApp:
    """All functions in declared order, and the module's own `close`, if it has one."""

    root: Path
    functions: tuple[LoadedFunction, ...]
    close: Callable[[], Coroutine[Any, Any, object]] | None


def load_app(root: Path, environment: Mapping[str, str] = os.environ) -> LoadedApp:
    """Import the app at the root and read its functions; raises HostError when there is none to run.

    An exception out of the app's own code is not wrapped: its traceback is the best message. The root becomes
    the first entry of `sys.path`, as in Azure.
    """
    module = _import(root)
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionApp)]
    if len(apps) != 1:
        raise HostError(f"{root / MODULE}.py must define exactly one FunctionApp; it defines {len(apps)}")
    try:
        declared = apps[0].get_functions()
    except ValueError as error:
        raise HostError(f"{MODULE}.py: {error}") from error
    functions = tuple(_function(each, root, environment) for each in declared)
    _refuse_twins(functions)
    return LoadedApp(root, functions, _closer(module))


def _import(root: Path) -> ModuleType:
    path = root / f"{MODULE}.py"
    if not path.is_file():
        raise HostError(
            f"{path} is missing: start the host in the folder of a function app, or name it with --root"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    specification = importlib.util.spec_from_file_location(MODULE, path)
    if specification is None or specification.loader is None:
        raise HostError(f"{path} can't be imported")
    module = importlib.util.module_from_spec(specification)
    sys.modules[MODULE] = module
    specification.loader.exec_module(module)
    return module


def _closer(module: ModuleType) -> Callable[[], Coroutine[Any, Any, object]] | None:
    close = getattr(module, "close", None)
    if close is None:
        return None
    if not inspect.iscoroutinefunction(close):
        raise HostError(f"{MODULE}.py: `close` must be an async function without parameters")
    closer: Callable[[], Coroutine[Any, Any, object]] = close
    return closer


def _function(declared: Any, root: Path, environment: Mapping[str, str]) -> LoadedFunction:
    name = declared.get_function_name()
    # Through JSON, because azure-functions leaves enum members in the dictionary.
    described = json.loads(json.dumps(declared.get_dict_repr(), cls=StringifyEnumJsonEncoder))
    bindings = tuple(_binding(each) for each in described["bindings"])
    kind = declared.get_trigger().get_dict_repr()["type"]
    trigger = next(binding for binding in bindings if binding.kind == kind)
    call = declared.get_user_function()
    parameters = inspect.signature(call).parameters
    return LoadedFunction(
        name=name,
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        wants_context="context" in parameters and not any(each.name == "context" for each in bindings),
        directory=root,
        trigger=trigger,
        bindings=bindings,
        http=_http(name, trigger, bindings, parameters) if kind == HTTP_TRIGGER else None,
        retry=_retry(name, declared),
        disabled=_is_disabled(name, environment),
    )


def _binding(described: Mapping[str, Any]) -> Binding:
    settings = {key: value for key, value in described.items() if key not in ("name", "type", "direction")}
    return Binding(described["name"], described["type"], str(described["direction"]).lower(), settings)


def _http(
    name: str, trigger: Binding, bindings: tuple[Binding, ...], parameters: Mapping[str, inspect.Parameter]
) -> HttpBinding:
    for binding in bindings:
        if binding is not trigger and binding.kind not in ("http", SERVICE_BUS_OUTPUT):
            raise HostError(
                f"{name}: this host can't supply the binding {binding.name!r} of type {binding.kind}"
            )
    outputs = {each.name for each in bindings if each.kind == SERVICE_BUS_OUTPUT} - {RETURNED}
    if set(parameters) - {"context"} != {trigger.name, *outputs}:
        wanted = ", ".join(repr(each) for each in (trigger.name, *sorted(outputs)))
        raise HostError(
            f"{name}: the parameters must be {wanted} and, if wanted, 'context'; "
            f"got {', '.join(parameters) or 'none'}"
        )
    route = str(trigger.settings.get("route") or name).strip("/")
    # Microsoft's ScriptHost.ValidateHttpFunction puts such a function in error, and its route is a 404 at run time.
    if route.lower().startswith(("admin", "runtime")):
        raise HostError(f"{name}: a route can't start with admin or runtime: these are the host's own")
    methods = trigger.settings.get("methods")
    wanted = str(trigger.settings.get("authLevel") or "function").lower()
    level = _LEVELS.get(wanted)
    if level is None:
        raise HostError(f"{name}: the authorization level {wanted!r} is not known to this host")
    return HttpBinding(
        parameter=trigger.name,
        route=route,
        methods=frozenset(str(method).upper() for method in methods)
        if isinstance(methods, list) and methods
        else None,
        level=level,
    )


def _retry(name: str, declared: Any) -> RetryPolicy | None:
    setting = declared.get_settings_dict("retry_policy")
    if not setting:
        return None
    try:
        # The decorator keeps the names of its arguments; host.json spells them in camel case.
        return parse_retry_policy({_camel(key): value for key, value in setting.items()}, parse_timespan)
    except ValueError as error:
        raise HostError(f"{name}: retry: {error}") from None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _is_disabled(name: str, environment: Mapping[str, str]) -> bool:
    """Whether AzureWebJobs.<name>.Disabled says so; with underscores too, since Linux shells can't set dots."""
    for key in (f"AzureWebJobs.{name}.Disabled", f"AzureWebJobs_{name}_Disabled"):
        if environment.get(key, "").lower() in ("1", "true"):
            return True
    return False


def _refuse_twins(functions: tuple[LoadedFunction, ...]) -> None:
    # azure-functions refuses equal names; Microsoft's host compares them without regard to case.
    seen: dict[str, str] = {}
    for function in functions:
        other = seen.setdefault(function.name.lower(), function.name)
        if other != function.name:
            raise HostError(f"two functions differ only in case: {other} and {function.name}")
