"""All talk with the API server: the only package that imports `kubernetes`.

Speaks plain dicts. Controllers never import it: they are given what they need of it by `app.py`.
"""
