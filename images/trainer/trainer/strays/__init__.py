"""Files of other jobs on the claim that a program of this job opens although the job does not name them.

`grounds` says what belongs to the job, `hook/sitecustomize.py` notices in each Python process what does not, and `telling` hands
that from the agent to the operator. It finds what somebody does by mistake or without hiding it; it is no wall.
"""
