"""The documentation's site: `make docs` builds it from docs/ and mkdocs.yml into build/site, from files of this repository alone.

`outside` has the pages that do not lie in docs/, `markdown` what a page needs to read the same there as where the repository is
browsed, `hook` hands both to mkdocs; what mkdocs or the hook complains of fails the build. `reference` writes the generated pages.
"""
