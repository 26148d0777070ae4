# What bash reads in a terminal of this server: the learner's settings, then the programs beside Python.
if [ -f ~/.bashrc ]; then . ~/.bashrc; fi
export PATH="$NOTEBOOK_PROGRAMS:$PATH"
