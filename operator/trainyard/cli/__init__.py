"""The command line for people: `trainyard submit | get | logs | why | plan | top | simulate`, also as the kubectl plugin `kubectl trainyard`."""
