"""Guards: pure reasons not to carry a plan out, each with its own sentence for people.

One file a topic. A guard looks at a ``Situation`` and says nothing, warns, asks for a person's
approval, or refuses. All are asked, so that people are told all reasons at once; what each said is
journalled, shown and counted under the guard's name.

What may not live here: I/O, clocks, logging. What a guard needs to know is read before, by the
actuators (``actions.facts``) and from the journal, and comes in as values.
"""
