"""Bulks to slabs, slabs to sites, sites and adsorbates to placements."""
