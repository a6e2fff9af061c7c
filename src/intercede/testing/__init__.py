"""Test support that is shipped: the contract suite, replay of recorded daemons, fault injection."""
