"""What is done about a judgement: plans and guards (pure), the journal, apply and the actuators.

What may live here: plans as values, the guards that refuse them, the ports ``Actuator`` and
``Journal``, the one place that carries plans out (``actions.apply``), and one file per actuator.

What may not: decisions about health (``analyzer``), configuration, wiring and the daemon's life
cycle (``rollbackd``).
"""
