"""A static site of many suites: leaderboards, suites, methods, records, and a search.

The pages work from files, without a server. Their content security policy allows only the site's
files, so the pages load nothing else and send nothing. Equal records give equal bytes.
"""
