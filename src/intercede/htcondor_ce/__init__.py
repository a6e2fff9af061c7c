"""A schedd that is reached over the network: HTCondor's own bindings, each identity in a process of its own."""
