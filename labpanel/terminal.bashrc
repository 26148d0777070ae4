# What bash reads in a terminal of JupyterLab: the learner's settings, then the labs' programs first.
if [ -f ~/.bashrc ]; then . ~/.bashrc; fi
export PATH="$LABS_PROGRAMS:$PATH"
