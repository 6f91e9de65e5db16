"""A Service Bus for one machine: a development tool, never deployed.

Notifications and the offline queue are topics. Tested against mocks they would hold whatever the mocks' author
believed; so this broker speaks AMQP 1.0 to the unmodified azure-servicebus SDK, keeps its messages in SQLite, and
reads the Config.json of Microsoft's emulator. What it promises is written as one contract suite
(tests/contract/test_contract_service_bus*.py), which runs against Azure too, when a connection string is given.

    amqp/        bytes <-> frames <-> links: the protocol, and nothing about queues
    filters/     the SQL of subscription rules
    entities     Config.json as typed values
    broker       queues, topics, locks, sessions; pure but for an injected clock
    store        SQLite behind one writing thread
    dispatch     the broker over the store, with consumers that wait and a timer
    nodes, management   what a link address means; the operations of `$management`
    server       the listening socket

It listens on the loopback interface only, and believes every token: there is nothing here to protect.
"""
