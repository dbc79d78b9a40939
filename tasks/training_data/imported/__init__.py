"""Labels of one's own: read from files, checked by reconstruction, each row in or with its reason.

``source_rows`` reads what a source holds, ``adsorption_energies`` makes adsorption energies of it,
``reconstruction`` recovers the placement that a screening would have begun with.
"""
