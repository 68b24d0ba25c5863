"""Which of several replicas acts.

A lease says whose turn it is: ``elector`` keeps or takes it, over any ``LeaseStore`` (a Kubernetes
Lease, a row beside the journal). The lease alone does not make writing safe, since a process can
sleep right after it looked; the journal's pen does (``SqlJournal.take_pen``), and the precondition
that every step carries.
"""
