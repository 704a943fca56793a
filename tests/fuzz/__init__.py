"""Files of strangers, changed at random: each is read, or refused with an error of lorascope. See targets.py."""
