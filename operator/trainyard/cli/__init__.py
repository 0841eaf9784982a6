"""The command line for people: `trainyard simulate | why | plan | top`, also as the kubectl plugin `kubectl trainyard`."""
