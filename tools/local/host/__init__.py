"""A Functions host for one machine: loads `function_app.py` and runs it as Microsoft's host would.

Problem: an Azure Functions app is only a set of decorated functions; the thing that listens, routes, limits
and logs is Microsoft's host, a .NET program that has to be downloaded and that not every machine may run.
Consequence: without a host nothing can be tried by hand, and tests that call functions directly pass over
everything that the host does to a request on its way in and to an answer on its way out.

    function_app.py ──loading──> functions ──┬─> triggers ──┬─ http: routes, keys, throttle, request, response
    host.json ───────hostjson──> settings ───┘       │      ├─ timer: schedule, missed runs, one host at a time
                                                     │      ├─ blob: listing, receipts, tries, poison messages
                                                     │      └─ Service Bus: receivers, locks, sessions, outputs
                                                     └──> invocation: context, time limit, retries, log line

It is a development tool. Where it knows a behaviour of Microsoft's host it copies the behaviour, the surprising
ones first of all (a method that no function takes is a bare 404; routes are tried in the order of function
names), and names the source beside the code. What it doesn't do is said aloud at start, never skipped silently.
"""
