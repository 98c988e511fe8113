// The reverse pass of the float network: how its output depends on each value inside. Not here: gradients of weights, optimisers.
