"""AMQP 1.0 as far as a Service Bus client speaks it. Source: the OASIS standard "AMQP Version 1.0", parts 1 to 5."""
