"""How the processes of a job share its work: over the samples, over the weights, over the layers, or through servers."""
