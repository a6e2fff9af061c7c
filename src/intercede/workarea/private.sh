# What is written is for the account alone; what others start for us gets the account's own mask.
ic_umask=$(umask)
umask 077
