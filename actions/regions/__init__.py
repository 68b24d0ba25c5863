"""From a region and its records to a plan that moves traffic, or the reasons why there is none.

Pure: what the records are now, how the regions stand and what they can carry is handed in.
"""
