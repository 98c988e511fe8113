// What a patch on one channel does to the output, measured: the network is run again from the changed activation. Slow; the reference.
