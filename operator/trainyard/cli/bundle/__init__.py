"""`trainyard bundle`: what whoever helps needs to see of an installation, without what nobody else should.

`redaction` takes secrets out, `pseudonyms` takes names out if asked to, `collecting` reads, `archive` packs with a list of what was
left out, `command` talks.
"""
