"""What lies on disk and what is known of it: photos, scenes, lists, the layouts of public data sets."""
