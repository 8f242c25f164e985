"""What ``photoglue.sfm.Localizer`` is made of."""
