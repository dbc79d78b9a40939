"""Structure files: CIF, POSCAR, xyz and what else ASE reads, with all that they may hold."""
